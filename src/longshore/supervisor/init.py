"""The first process of an instance: it boots, keeps the agent running, writes the console, and buries the dead.

It needs nobody: supervisor and server may end and come back meanwhile. When it ends, the kernel ends all that is in the
instance. Only the standard library is imported, and little of it, since every instance has one of these.

From inside it hears the words of `systemctl` and its like (see guest.py) at a pipe. To the supervisor it tells how things
stand, at a socket whose place is outside the instance's root.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
import traceback
from typing import TypedDict

from longshore.host.namespaces import be_inspectable

CONTROL = "/run/longshore/control"  # the pipe
STATE = "/run/longshore/ecs"  # a file: what the agent does
SCRIPTS = "/var/lib/cloud/instance/scripts"
CONSOLE_BYTES = 256 * 1024

_RESTART_SECONDS = (1.0, 2.0, 5.0)
_STEADY_SECONDS = 60.0  # An agent that lived so long begins again at the shortest delay.
# The exit status by which an agent says that it must not be started again: that of the original one.
_TERMINAL = 5


class Plan(TypedDict):
    """What is to happen in an instance."""

    instance_id: str
    scripts: list[str]
    notes: list[str]
    starts_agent: bool
    agent: list[str]
    agent_environment: dict[str, str]
    boot_environment: dict[str, str]


class Console:
    """A file that keeps the last of what was written to it, between one and two times CONSOLE_BYTES."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def write(self, data: bytes) -> None:
        # A full disk costs lines of the console, not the instance.
        with contextlib.suppress(OSError):
            self._size += os.write(self._descriptor, data)
            if self._size > 2 * CONSOLE_BYTES:
                kept = os.pread(self._descriptor, CONSOLE_BYTES, self._size - CONSOLE_BYTES)
                os.ftruncate(self._descriptor, 0)
                self._size = os.write(self._descriptor, kept)

    def say(self, line: str) -> None:
        self.write(f"{line}\n".encode("utf-8", "replace"))


class Init:
    def __init__(self, plan: Plan, console: Console, door: socket.socket) -> None:
        self._plan = plan
        self._console = console
        self._door = door
        self._guests: dict[int, socket.socket] = {}
        self._scripts = list(enumerate(plan["scripts"], 1))
        self._boot_pid: int | None = None
        self._is_booted = False
        self._agent_pid: int | None = None
        self._is_agent_wanted = plan["starts_agent"]
        self._agent_starts = 0
        self._agent_exit = 0
        self._agent_began = 0.0
        self._failures = 0
        self._restart_at: float | None = None
        self._is_over = False

    def run(self) -> None:
        """Returns when the instance was told from inside to shut down."""
        self._output, self._children_output = os.pipe()
        os.set_blocking(self._output, False)
        self._woken, waker = os.pipe()
        for each in (self._woken, waker):
            os.set_blocking(each, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        os.makedirs(os.path.dirname(CONTROL), mode=0o755, exist_ok=True)
        os.mkfifo(CONTROL, 0o600)
        # Opened for writing too: the pipe has no end when the last writer closes it.
        self._control = os.open(CONTROL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._door.setblocking(False)
        self._poll = select.poll()
        for descriptor in (self._output, self._woken, self._control, self._door.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        for note in self._plan["notes"]:
            self._console.say(note)
        self._next_script()
        self._tell()
        while not self._is_over:
            self._turn()

    def _turn(self) -> None:
        timeout = None
        if self._restart_at is not None:
            timeout = max(0.0, self._restart_at - time.monotonic()) * 1000
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor == self._output:
                self._read_output()
            elif descriptor == self._woken:
                os.read(self._woken, 4096)
                self._reap()
            elif descriptor == self._control:
                self._hear(os.read(self._control, 4096))
            elif descriptor == self._door.fileno():
                self._greet()
            else:
                self._part(descriptor)
        if self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._start_agent()

    # --- boot ---

    def _next_script(self) -> None:
        if self._scripts:
            number, text = self._scripts.pop(0)
            path = f"{SCRIPTS}/part-{number:03d}"
            os.makedirs(SCRIPTS, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "w") as file:
                file.write(text)
            self._boot_pid = self._spawn([path], self._plan["boot_environment"])
            return
        self._boot_pid = None
        self._is_booted = True
        self._console.say(f"{self._plan['instance_id']}: booted")
        if self._agent_pid is None and self._restart_at is None:
            if self._is_agent_wanted:
                self._start_agent()
            else:
                self._console.say("no ECS agent on this image, and user data started none")

    # --- the agent ---

    def _start_agent(self) -> None:
        self._restart_at = None
        self._is_agent_wanted = True
        self._agent_starts += 1
        self._agent_began = time.monotonic()
        self._console.say(f"{self._plan['instance_id']}: starting the ECS agent")
        self._agent_pid = self._spawn(self._plan["agent"], self._plan["agent_environment"])
        self._tell()

    def _agent_ended(self, status: int) -> None:
        self._agent_pid = None
        self._agent_exit = os.waitstatus_to_exitcode(status)
        how = f"status {self._agent_exit}" if self._agent_exit >= 0 else f"signal {-self._agent_exit}"
        self._read_output()
        if not self._is_agent_wanted or self._agent_exit == _TERMINAL:
            self._is_agent_wanted = False
            self._console.say(f"{self._plan['instance_id']}: the ECS agent ended with {how}, and stays so")
        else:
            now = time.monotonic()
            if now - self._agent_began >= _STEADY_SECONDS:
                self._failures = 0
            delay = _RESTART_SECONDS[min(self._failures, len(_RESTART_SECONDS) - 1)]
            self._failures += 1
            self._restart_at = now + delay
            self._console.say(f"{self._plan['instance_id']}: the ECS agent ended with {how}; again in {delay:g} s")
        self._tell()

    def _stop_agent(self) -> None:
        self._is_agent_wanted = False
        self._restart_at = None
        if self._agent_pid is not None:
            os.kill(self._agent_pid, signal.SIGTERM)
        self._tell()

    def _agent_state(self) -> str:
        if self._agent_pid is not None:
            return "running"
        if self._restart_at is not None:
            return "waiting"
        return "ended" if self._agent_starts else "none"

    # --- words from inside ---

    def _hear(self, data: bytes) -> None:
        for word in data.decode("ascii", "replace").split("\n"):
            if word == "start" and self._agent_pid is None:
                self._failures = 0
                self._start_agent()
            elif word == "stop":
                self._stop_agent()
            elif word == "restart":
                self._failures = 0
                if self._agent_pid is None:
                    self._start_agent()
                else:
                    self._is_agent_wanted = True
                    os.kill(self._agent_pid, signal.SIGTERM)
            elif word == "poweroff":
                self._console.say(f"{self._plan['instance_id']}: shuts down")
                self._is_over = True

    # --- children ---

    def _spawn(self, command: list[str], environment: dict[str, str]) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            nothing = os.open("/dev/null", os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(self._children_output, 1)
            os.dup2(self._children_output, 2)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            be_inspectable()
            adjust_oom("0")
            os.chdir("/")
            os.execvpe(command[0], command, environment)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._boot_pid:
                self._read_output()
                if status:
                    self._console.say(f"user data: ended with {os.waitstatus_to_exitcode(status)}")
                self._next_script()
                self._tell()
            elif pid == self._agent_pid:
                self._agent_ended(status)

    def _read_output(self) -> None:
        # Bounded: a flood must not keep us from the rest.
        for _ in range(16):
            try:
                self._console.write(os.read(self._output, 65536))
            except BlockingIOError:
                return

    # --- the supervisor ---

    def _greet(self) -> None:
        with contextlib.suppress(OSError):
            guest, _ = self._door.accept()
            guest.setblocking(False)
            self._guests[guest.fileno()] = guest
            self._poll.register(guest.fileno(), select.POLLIN)
            self._tell()

    def _part(self, descriptor: int) -> None:
        """Nothing is ever said to us there: it can only be the end."""
        self._poll.unregister(descriptor)
        self._guests.pop(descriptor).close()

    def _tell(self) -> None:
        state = self._agent_state()
        # Inside first, so that nobody outside knows more than those within.
        with contextlib.suppress(OSError):
            with open(f"{STATE}.draft", "w") as file:
                file.write(f"{state}\n")
            os.rename(f"{STATE}.draft", STATE)
        said = {
            "is_booted": self._is_booted,
            "agent": state,
            "agent_pid": self._agent_pid,
            "agent_starts": self._agent_starts,
        }
        line = json.dumps(said).encode() + b"\n"
        for descriptor, guest in list(self._guests.items()):
            try:
                guest.send(line)
            except OSError:
                self._part(descriptor)


def adjust_oom(value: str) -> None:
    """How willingly the kernel kills this process for want of memory; without the right to say so, as it is."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(value)


def run(plan: Plan, console: Console, door: socket.socket) -> None:
    """Does not return: the instance ends with it."""
    try:
        Init(plan, console, door).run()
    except BaseException:
        console.say(traceback.format_exc())
        os._exit(1)
    os._exit(0)
