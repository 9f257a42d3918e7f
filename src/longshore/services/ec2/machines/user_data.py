"""What user data would have done at boot, for machines that have no shell: a modest reader of the lines people write.

It knows the MIME multipart that cloud-init takes, `echo` and `printf` into a file, `cat` with a here-document, and the
lines that start the agent. Everything else is passed over, and said so on the console. Pure.

Source: ECS developer guide, "Bootstrapping Amazon ECS Linux container instances to pass data".
"""

from __future__ import annotations

import email
import re
import shlex
from collections.abc import Mapping

from msgspec import Struct

ECS_CONFIG = "/etc/ecs/ecs.config"

_HEREDOC = re.compile(r"<<(-?)\s*(['\"]?)(\w+)\2")
_REDIRECTION = re.compile(r"(>>?)\s*(\"[^\"]+\"|'[^']+'|[^\s;&|]+)")
_TEE = re.compile(r"\|\s*(?:sudo\s+)?tee\s+(-a\s+)?(\S+)")
_ASSIGNMENT = re.compile(r"^(?:export\s+)?([A-Za-z_]\w*)=(.*)$")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_STARTS_AGENT = re.compile(r"^(?:sudo\s+)?(?:systemctl\s+(?:enable\s+--now|(?:re)?start|--no-block\s+start)\s+(?:--no-block\s+)?ecs"
                           r"|(?:service\s+ecs\s+|)start(?:\s+ecs|$)|(?:\S*/)?longshore\s+agent)(?:\.service)?\b")  # fmt: skip


class Boot(Struct, frozen=True):
    """What user data left behind: `files` path -> text; whether it started an agent; lines for the console."""

    files: Mapping[str, str]
    starts_agent: bool
    console: tuple[str, ...]

    @property
    def ecs_config(self) -> dict[str, str]:
        """The KEY=VALUE lines of /etc/ecs/ecs.config; the last of a key counts."""
        found = {}
        for line in self.files.get(ECS_CONFIG, "").splitlines():
            key, equals, value = line.strip().partition("=")
            if equals and not key.startswith("#"):
                found[key.strip()] = value.strip()
        return found


def boot(user_data: str) -> Boot:
    """Runs the shell scripts in `user_data`, in their order."""
    shell = _Shell()
    for script in scripts(user_data):
        shell.run(script)
    return Boot(shell.files, shell.starts_agent, tuple(shell.console))


def scripts(user_data: str) -> list[str]:
    """The shell scripts: the text itself when it begins with `#!`, or the x-shellscript parts of a multipart."""
    text = user_data.lstrip()
    if text.startswith("#!"):
        return [text]
    if not re.search(r"(?im)^content-type:\s*multipart/", text.split("\n\n", 1)[0].replace("\r", "")):
        return []
    found = []
    for part in email.message_from_string(text).walk():
        if part.get_content_type() == "text/x-shellscript":
            body = part.get_payload(decode=True)
            if isinstance(body, bytes):
                found.append(body.decode("utf-8", "replace"))
    return found


class _Shell:
    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.starts_agent = False
        self.console: list[str] = []

    def run(self, script: str) -> None:
        lines = script.replace("\r\n", "\n").split("\n")
        at = 0
        while at < len(lines):
            line = lines[at].strip()
            at += 1
            if not line or line.startswith("#"):
                continue
            heredoc = _HEREDOC.search(line)
            if heredoc is None:
                self._line(line)
                continue
            body = []
            while at < len(lines) and (lines[at].lstrip("\t") if heredoc[1] else lines[at]) != heredoc[3]:
                body.append(lines[at].lstrip("\t") if heredoc[1] else lines[at])
                at += 1
            at += 1
            text = "".join(f"{each}\n" for each in body)
            self._write(_HEREDOC.sub("", line), text if heredoc[2] else self._expanded(text))

    def _line(self, line: str) -> None:
        assignment = _ASSIGNMENT.match(line)
        if assignment is not None and " " not in line.split("=", 1)[0].removeprefix("export "):
            self.variables[assignment[1]] = self._expanded(assignment[2].strip("\"'"))
            return
        for command in re.split(r"\s*(?:&&|;)\s*(?=(?:[^\"']|\"[^\"]*\"|'[^']*')*$)", line):
            self._command(command)

    def _command(self, command: str) -> None:
        word = command.removeprefix("sudo ").split(" ", 1)[0]
        if _STARTS_AGENT.match(command):
            self.starts_agent = True
            self.console.append(f"user data: {command}")
        elif word in ("echo", "printf"):
            self._write(command, self._echoed(command))
        elif command not in ("set -e", "set -x", "set -ex", ""):
            self.console.append(f"user data: passed over: {command}")

    def _echoed(self, command: str) -> str:
        said = _TEE.split(_REDIRECTION.split(command)[0])[0]
        try:
            words = shlex.split(said)
        except ValueError:
            words = said.split()
        if words and words[0] == "sudo":
            words = words[1:]
        name, words = words[0], words[1:]
        escapes = name == "printf"
        newline = name == "echo"
        while name == "echo" and words and words[0] in ("-e", "-n", "-ne", "-en"):
            escapes = escapes or "e" in words[0]
            newline = newline and "n" not in words[0]
            words = words[1:]
        text = " ".join(words)
        if "'" not in said:
            text = self._expanded(text)
        if escapes:
            text = text.replace("\\n", "\n").replace("\\t", "\t")
        return f"{text}\n" if newline else text

    def _write(self, command: str, text: str) -> None:
        """Writes `text` where the command redirects it; nowhere: to the console."""
        tee = _TEE.search(command)
        redirection = _REDIRECTION.search(command)
        if tee is not None:
            path, append = tee[2], bool(tee[1])
        elif redirection is not None:
            path, append = redirection[2].strip("\"'"), redirection[1] == ">>"
        else:
            self.console.extend(text.splitlines())
            return
        path = self._expanded(path)
        self.files[path] = (self.files.get(path, "") if append else "") + text

    def _expanded(self, text: str) -> str:
        return _VARIABLE.sub(lambda match: self.variables.get(match[1] or match[2], ""), text)
