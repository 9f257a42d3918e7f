"""Instances give way at once, as long as the others leave them half of the host."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from longshore.host.cgroups import Hierarchy, Mounted
from longshore.supervisor.giving_way import GivingWay, Use, gives_way, use_in
from machines_of_host import until

TICKS = os.sysconf("SC_CLK_TCK")
STAT = """\
cpu  100 20 30 500 40 5 5 100 60 0
cpu0 1 1 1 1 1 1 1 1 1 1
intr 1 2 3
"""


def test_what_the_kernel_tells_of_all_processors_is_told_in_seconds() -> None:
    # Stolen time is nobody's here, and that of guests is in the first two already.
    assert use_in(STAT, 0.5, 100) == Use(there=7.0, used=1.6, ours=0.5)


@pytest.mark.parametrize(
    ("others", "ours", "gave_way", "expected"),
    [
        (0.0, 2.0, True, True),  # Jobs take all there is: whoever else comes is let in front.
        (0.0, 0.0, True, True),
        (0.9, 0.1, True, True),
        (1.1, 0.9, True, False),  # More than half: jobs would be without theirs.
        (2.0, 0.0, True, False),
        (0.9, 0.9, False, False),  # Not sooner again than it is clear.
        (0.7, 1.3, False, True),
    ],
)
def test_instances_give_way_while_the_others_leave_them_half(
    others: float, ours: float, gave_way: bool, expected: bool
) -> None:
    before = Use(there=100.0, used=50.0, ours=20.0)
    now = Use(there=102.0, used=50.0 + others + ours, ours=20.0 + ours)
    assert gives_way(before, now, gave_way=gave_way) is expected


def test_where_no_time_went_by_nothing_changes() -> None:
    use = Use(there=100.0, used=50.0, ours=20.0)
    assert gives_way(use, use, gave_way=True) and not gives_way(use, use, gave_way=False)


class Host:
    """The kernel's files, as plain ones: two seconds of processors go by at each look."""

    def __init__(self, root: Path, *, has_idle: bool = True) -> None:
        self.stat = root / "stat"
        self.folder = root / "all"
        self.folder.mkdir()
        self.there = self.used = 0.0
        self.others = 0.1
        if has_idle:
            self.idle.write_text("0\n")
        (self.folder / "cpuacct.usage").write_text("0")
        self.go_on()
        hierarchy = Hierarchy({"cpu": Mounted(root), "cpuacct": Mounted(root)})
        self.giving_way = GivingWay(hierarchy, "/all", stat=self.stat, look_seconds=0.001)

    @property
    def idle(self) -> Path:
        return self.folder / "cpu.idle"

    def go_on(self) -> None:
        self.there += 2.0
        self.used += 2.0 * self.others
        free = round((self.there - self.used) * TICKS)
        fresh = self.stat.with_name("fresh")
        fresh.write_text(f"cpu  {round(self.used * TICKS)} 0 0 {free} 0 0 0 0 0 0\n")
        fresh.replace(self.stat)


def test_it_is_looked_at_again_and_again_and_at_the_end_they_do_not(tmp_path: Path) -> None:
    host = Host(tmp_path)

    async def run() -> None:
        host.giving_way.begin()
        host.giving_way.begin()
        for others, expected in ((0.1, "1"), (0.9, "0"), (0.1, "1")):
            host.others = others

            def is_so(expected: str = expected) -> bool:
                host.go_on()
                return host.idle.read_text().strip() == expected

            await until(is_so)
        host.giving_way.end()
        assert host.idle.read_text() == "0"
        host.giving_way.end()

    asyncio.run(run())


def test_a_kernel_that_does_not_know_it_is_left_alone(tmp_path: Path) -> None:
    host = Host(tmp_path, has_idle=False)

    async def run() -> None:
        host.giving_way.begin()
        await asyncio.sleep(0.01)
        host.giving_way.end()

    asyncio.run(run())
    assert sorted(each.name for each in host.folder.iterdir()) == ["cpuacct.usage"]
