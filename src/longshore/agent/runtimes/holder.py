"""The holder: the little shell program that stays with a container for as long as there is something to know of it.

It is a session of its own and so outlives the agent. It claims the container, which can be done once; puts itself, and with
it all that follows, into the container's control group; runs crun, which ends when the container does; writes the exit
status down; and stays, so that the pipe with the container's last words stays, until an agent has taken them.

In the container's folder:

    claim      there since a holder began: the container is started, or was. Made exclusively, so at most one ever does
    trouble    what kept the holder from running crun; then there is no exit
    exit       the exit status and a newline. Without the newline it was never finished
    error      crun's messages, one JSON document a line
    log        the pipe that is the container's output
    life       the holder and crun have it open as long as they live, and the holder writes a line into it after `exit`
    release    a line in it lets the holder go
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

# $1 the container's folder, $2 crun, $3 where crun keeps its state, $4 where the program's pid goes, $5 the container's id,
# then the entrances of the control group. 0 is the log open both ways, so that there is always a reader; 9 holds the image.
_SCRIPT = r"""
cd "$1" || exit
crun=$2 state=$3 pids=$4 id=$5
shift 5
umask 022
exec 3<>life 5<>release
set -C
{ echo $$ >claim; } 2>/dev/null || exit 0
set +C
for entrance do
  { echo 0 >"$entrance"; } 2>/dev/null || { echo "control group $entrance can't be joined" >trouble; exit 1; }
done
"$crun" --root "$state" --cgroup-manager=disabled --log "$PWD/error" --log-format json \
  run --bundle "$PWD" --pid-file "$pids/$id" "$id" </dev/null 5>&- 9>&-
echo $? >exit
echo >&3
read -r released <&5
"""

_SHELL = "/bin/sh"
# Python ignores these two, and who is started inherits it; a job expects the default.
_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ]

PIPES = ("log", "life", "release")


def spawn(
    folder: Path,
    *,
    crun: str,
    state: Path,
    pids: Path,
    container_id: str,
    entrances: Sequence[Path],
    image: int,
    is_logged: bool,
) -> int:
    """Starts the holder; its pid. `image`: an open file that it takes over as long as it runs.

    posix_spawn, since it starts a program at the least cost (vfork), and a session and the signals can be asked for.
    """
    reader = os.open(folder / "log", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Not through /proc/self/fd or the like: the same open file would share its mode with the container's output.
        writer = os.open(folder / "log" if is_logged else "/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        try:
            moves = [(reader, 0), (writer, 1), (writer, 2), (image, 9)]
            arguments = [folder, crun, state, pids, container_id, *entrances]
            return os.posix_spawn(
                _SHELL,
                ["sh", "-c", _SCRIPT, "longshore-holder", *map(str, arguments)],
                {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in moves],
                setsid=True,
                setsigmask=[],
                setsigdef=_SIGNALS,
            )
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def release(folder: Path) -> None:
    """Lets the holder of an ended container go; one that has gone already is no matter."""
    try:
        opened = os.open(folder / "release", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # ENXIO: nobody has it open.
    try:
        os.write(opened, b"\n")
    finally:
        os.close(opened)


def is_claimed(folder: Path) -> bool:
    return (folder / "claim").exists()


def exit_code(folder: Path) -> int | None:
    """None: there is no exit status, or it was not written to its end."""
    try:
        text = (folder / "exit").read_text()
    except FileNotFoundError:
        return None
    return int(text) if text.endswith("\n") else None


def trouble(folder: Path) -> str | None:
    """What kept the holder or crun from running the container's program; None: nothing that they told of."""
    try:
        return (folder / "trouble").read_text().strip()
    except FileNotFoundError:
        pass
    try:
        lines = (folder / "error").read_bytes().splitlines()
    except FileNotFoundError:
        return None
    messages = [_message(line) for line in lines]
    return next((message for message in messages if message), None)


def last_words(output: bytes) -> str | None:
    """Why the container's program could not be executed, if that is all of its output; None: it is the program's own.

    At that point crun has only the container's standard error left to tell it to.
    """
    message = _message(output) if output.count(b"\n") == 1 else None
    return message if message and message.startswith("exec") else None


def _message(line: bytes) -> str | None:
    try:
        entry: Any = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None  # Cut off in the middle of writing.
    is_error = isinstance(entry, dict) and entry.get("level") == "error"
    return str(entry.get("msg") or "") if is_error else None
