"""Whether instances give way to all else on the host at once.

Where they are as one more program of the host, whoever wakes beside a job that computes may have to wait for the end of its
slice, 3 or 4 ms: the server for its turn, the disk's thread that makes a commit durable, whoever looks at the answer. A group
that the kernel knows as idle (`cpu.idle`, Linux 5.15) is interrupted at once. It is also nothing against a program that is
busy: jobs would stand still while somebody computes on the host. So they give way only while the others are content with
half of the host. When they want more, instances are one more program again, with its share.

So it is looked at several times a second, for as long as there are instances, what the others use.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog
from msgspec import Struct

from longshore.host.cgroups import Hierarchy

log = structlog.get_logger("longshore.supervisor")

_LOOK_SECONDS = 0.25
# Of what the host's processors can do: what the others may use while instances give way. Between the two it stays as it is.
_MUCH, _LITTLE = 0.5, 0.4


class Use(Struct, frozen=True):
    """Seconds of all processors together, since the host's start."""

    there: float  # were to be had
    used: float
    ours: float  # by instances


def gives_way(before: Use, now: Use, *, gave_way: bool) -> bool:
    """Pure."""
    there = now.there - before.there
    if there <= 0:
        return gave_way
    others = ((now.used - before.used) - (now.ours - before.ours)) / there
    return others < (_MUCH if gave_way else _LITTLE)


def use_in(stat: str, ours: float, ticks: int) -> Use:
    """Of the text of /proc/stat, which counts in ticks, so many a second. Pure.

    proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in the first two.
    """
    numbers = [int(number) for number in stat.split("\n", 1)[0].split()[1:9]]
    free, stolen = sum(numbers[3:5]), sum(numbers[7:8])
    there = sum(numbers) - stolen
    return Use(there=there / ticks, used=(there - free) / ticks, ours=ours)


class GivingWay:
    """Of the group that all instances are in, which other supervisors may look after too. Of one event loop."""

    def __init__(
        self, hierarchy: Hierarchy, group: str, *, stat: Path = Path("/proc/stat"), look_seconds: float = _LOOK_SECONDS
    ) -> None:
        self._hierarchy = hierarchy
        self._group = group
        self._stat = stat
        self._look_seconds = look_seconds
        self._looking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """There are instances."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    def end(self) -> None:
        """Nobody looks any more: jobs must not stand still for that."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._hierarchy.set_idle(self._group, False)

    async def _look(self) -> None:
        before = self._use()
        if before is None or not self._hierarchy.set_idle(self._group, True):
            log.info("the kernel can't have instances give way at once")
            return
        is_idle = True
        while True:
            await asyncio.sleep(self._look_seconds)
            now = self._use()
            if now is None:
                continue  # The group comes with the next instance.
            is_idle = gives_way(before, now, gave_way=is_idle)
            self._hierarchy.set_idle(self._group, is_idle)
            before = now

    def _use(self) -> Use | None:
        ours = self._hierarchy.cpu_seconds(self._group)
        if ours is None:
            return None
        return use_in(self._stat.read_text(), ours, os.sysconf("SC_CLK_TCK"))
