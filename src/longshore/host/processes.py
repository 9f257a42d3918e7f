"""Processes, known for certain: a number alone may be another's by now."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal


def started_at(pid: int) -> int | None:
    """When it began, in the kernel's ticks since boot; None: there is no such process. With its number it is unique."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything. proc(5): the state is the 3rd field, the start the 22nd.
    fields = text[text.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def boot_id() -> str:
    """Another one after each start of the host: process numbers of an earlier life mean nothing."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


class Process:
    """A process that need not be our child. `exited` is set once it is gone, and its whole pid namespace if it led one."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self.exited = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._on_exit)

    @classmethod
    def find(cls, pid: int, start: int | None = None) -> Process | None:
        """None: it is gone, or the number is another's. `start` as `started_at` told it."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        # In this order: what the descriptor stands for can't change any more.
        now = started_at(pid)
        if now is None or (start is not None and now != start):
            os.close(descriptor)
            return None
        return cls(pid, descriptor)

    def kill(self) -> None:
        if not self.exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def forget(self) -> None:
        """Ends the watching, not the process."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _on_exit(self) -> None:
        # An orphan that we adopted waits for this; the child of another is not ours to wait for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        self.exited.set()
        self.forget()
