"""How fast an instance's disk is, and that what was said of it is taken back: its numbers are another's afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from longshore.host import loops
from longshore.host.cgroups import Hierarchy
from longshore.host.supervised import Standing
from longshore.supervisor.keeper import _DISK_SPEED as SPEED
from machines_of_host import Supervised, inside, needs_root, order, supervised, until

pytestmark = needs_root


def disk_of(standing: Standing) -> str:
    device = os.stat(f"/proc/{standing.pid}/root/").st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def is_bound(disk: str, standing: Standing) -> bool:
    """Both, or neither. Not if its numbers are another's by now: tests beside this one have disks too."""
    if (file := loops.file_of(disk)) is not None and f"/{standing.instance_id}/" not in file:
        return False
    hierarchy = Hierarchy.of_this_process()
    if hierarchy.version == 2:
        (folder,) = hierarchy.folders(f"/longshore/{standing.instance_id}")
        limits = folder / "io.max"  # gone with the instance
        is_slow = limits.exists() and f"{disk} rbps={SPEED.bytes} wbps={SPEED.bytes}" in limits.read_text()
    else:
        is_slow = disk in hierarchy.slow_disks(SPEED)
    waits_little = disk in loops.bound_disks()
    assert is_slow == waits_little
    return is_slow


async def with_disks(here: Supervised) -> None:
    if (fault := (await here.connection.about()).disk_fault) is not None:
        pytest.skip(f"files can't be disks here: {fault}")
    hierarchy = Hierarchy.of_this_process()
    if hierarchy.version == 1 and hierarchy._disks is None:
        pytest.skip("the root of the `blkio` control groups is not mounted")


def test_a_disk_is_as_fast_as_a_volume_until_its_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            await with_disks(here)
            slow, other = order(1, disk_mib=256), order(2, disk_mib=64)
            standing = await here.connection.launch(slow)
            neighbour = await here.connection.launch(other)
            disk = disk_of(standing)
            assert is_bound(disk, standing) and is_bound(disk_of(neighbour), neighbour)
            began = time.monotonic()
            inside(standing, "dd if=/dev/zero of=/var/some bs=1M count=128 conv=fsync")
            # A tenth of a second's worth goes at once.
            assert time.monotonic() - began > 0.8
            # What waits to be written holds nobody up at the end.
            inside(standing, "dd if=/dev/zero of=/var/more bs=1M count=64")
            await here.connection.terminate(slow.instance_id)
            assert not is_bound(disk, standing) and is_bound(disk_of(neighbour), neighbour)

    asyncio.run(run())


def test_with_a_supervisor_that_was_killed_it_is_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            await with_disks(here)
            standings = [await here.connection.launch(order(number, disk_mib=32)) for number in (1, 2, 3)]
            disks = [disk_of(each) for each in standings]
            await here.kill()
            os.kill(standings[0].pid, signal.SIGKILL)  # Nobody sees it.
            await here.start()
            assert [is_bound(disk, each) for disk, each in zip(disks, standings, strict=True)] == [False, True, True]
            os.kill(standings[1].pid, signal.SIGKILL)
            await until(lambda: not is_bound(disks[1], standings[1]))
            await here.connection.terminate(standings[2].instance_id)
            assert not is_bound(disks[2], standings[2])

    asyncio.run(run())


def test_whose_state_folder_was_deleted_meanwhile_is_found_by_the_next_start_of_any(tmp_path: Path) -> None:
    async def run() -> None:
        lost = Supervised(tmp_path / "lost")
        lost.state.mkdir()
        await lost.start()
        await with_disks(lost)
        standing = await lost.connection.launch(order(1, disk_mib=32))
        disk = disk_of(standing)
        await lost.kill()
        os.kill(standing.pid, signal.SIGKILL)
        shutil.rmtree(lost.state)
        # The kernel lets go of the file when the last of it has ended.
        await until(lambda: not Path(f"/sys/dev/block/{disk}/loop/backing_file").exists())
        assert is_bound(disk, standing)
        await until(lambda: Hierarchy.of_this_process().remove(f"/longshore/{standing.instance_id}"))
        assert disk in loops.bound_disks()
        async with supervised(tmp_path / "state"):
            assert not is_bound(disk, standing)

    asyncio.run(run())
