"""One container of the crun runtime, from its folder: what was decided when it was created, and how far it has come.

All that counts is on disk, written by the runtime (before the start) and the holder (after it), so that an agent that comes
back knows as much as the one that went. In memory there is only what waits: for the program to run, and for its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import msgspec
from msgspec import Struct

from longshore.agent.runtimes import holder
from longshore.agent.runtimes.base import ContainerError, Exit
from longshore.agent.runtimes.spool import Spool
from longshore.host.cgroups import Hierarchy

_KILLED = 128 + signal.SIGKILL
_OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


class Record(Struct, frozen=True, kw_only=True):
    """What is kept of a container's creation, beside the configuration that crun reads."""

    container_id: str
    task_id: str
    store: str  # the folder of the store that has the image
    digest: str
    layer: str
    cgroup: str
    stop_signal: str = "SIGTERM"
    is_logged: bool = True


class Container:
    def __init__(self, folder: Path, record: Record, hierarchy: Hierarchy, *, output: Path, pid_file: Path) -> None:
        self.folder = folder
        self.record = record
        self.lock = asyncio.Lock()  # one verb that changes it at a time
        self.image: int | None = None  # the open file that holds the image, until a holder has it
        self.spool = Spool(folder / "log", output)
        self.news = asyncio.Event()  # its pid has appeared, or it has ended: it runs, is about to, or never will
        self.ended = asyncio.Event()
        self.is_seen_running = False
        self._hierarchy = hierarchy
        self._pid_file = pid_file
        self._life: int | None = None

    @property
    def id(self) -> str:
        return self.record.container_id

    def begin(self) -> None:
        """Follows its life from now on. Before the holder is started, or, by a later agent, after."""
        if self._life is not None or self.ended.is_set():
            return
        self.spool.open()
        self._life = os.open(self.folder / "life", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._life, self._on_life)

    def resume(self) -> None:
        """Follows the life of a container that an earlier agent started."""
        self.begin()
        if self._pid_file.exists():
            self.news.set()
        if holder.exit_code(self.folder) is not None or holder.is_claimed(self.folder):
            # Whoever claims has `life` open before; if nobody has, it is over, and no event will say so.
            self._on_life()

    def _on_life(self) -> None:
        if self._life is None:
            return
        try:
            os.read(self._life, 64)
        except BlockingIOError:
            if holder.exit_code(self.folder) is None:
                return
            # An earlier agent has read the line, and died.
        self._end()

    def _end(self) -> None:
        self._close_life()
        self.spool.end()
        holder.release(self.folder)
        self.ended.set()
        self.news.set()

    def on_holder_gone(self) -> None:
        """Our child, the holder, is no more. Usually that is old news."""
        if not holder.is_claimed(self.folder):
            self._end()  # It did not come as far as its first line.

    def close(self) -> None:
        """Nothing is followed any more, and nothing ended by that."""
        self._close_life()
        self.spool.close()
        self.ended.set()
        self.news.set()
        self.release_image()

    def release_image(self) -> None:
        if self.image is not None:
            os.close(self.image)
            self.image = None

    def _close_life(self) -> None:
        if self._life is not None:
            asyncio.get_running_loop().remove_reader(self._life)
            os.close(self._life)
            self._life = None

    def failure(self) -> ContainerError | None:
        """Of an ended container: why its program never ran; None: it ran."""
        if self.is_seen_running or holder.exit_code(self.folder) == 0:
            return None
        why = holder.trouble(self.folder) or holder.last_words(self.spool.beginning())
        if why is None:
            if self._pid_file.exists() or holder.is_claimed(self.folder):
                return None
            why = "its holder did not start"
        return ContainerError(f"CannotStartContainerError: Error response from daemon: {why}")

    def exit(self) -> Exit:
        """Of an ended container."""
        code = holder.exit_code(self.folder)
        if self.failure() is not None:
            return Exit(exit_code=None)
        if code == _KILLED and self._hierarchy.oom_kills(self.record.cgroup) > 0:
            return Exit(exit_code=code, reason=_OUT_OF_MEMORY)
        return Exit(exit_code=code)

    def pid(self) -> int | None:
        """Of its first program; None: it isn't known yet, or any more."""
        try:
            return int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def kill(self, number: int) -> None:
        """A signal to its first program, if it is still there."""
        pid = self.pid()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            opened = os.pidfd_open(pid)
            try:
                # What is open is one process for certain; that it is ours, and not a stranger with the pid of a dead one,
                # is seen by its group.
                if pid in self._hierarchy.processes(self.record.cgroup):
                    signal.pidfd_send_signal(opened, number)
            finally:
                os.close(opened)


def read_record(folder: Path) -> Record | None:
    """None: the container was not created to the end, or isn't there."""
    if not (folder / "config.json").exists():
        return None
    try:
        return msgspec.json.decode((folder / "record.json").read_bytes(), type=Record)
    except FileNotFoundError:
        return None
