from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from longshore.host.cgroups import (
    DiskSpeed,
    Hierarchy,
    Limits,
    Mounted,
    disks_in,
    limits_v1,
    limits_v2,
    mounts_in,
    weight,
)

HYBRID = """\
30 23 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
34 30 0:30 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
35 30 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
BRANCH = "31 23 0:27 /longshore/i-1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def test_hybrid_is_v1_for_us() -> None:
    mounts = mounts_in(HYBRID)
    assert list(mounts) == ["cpu", "cpuacct", "memory", "pids"]
    assert mounts["cpu"] == mounts["cpuacct"] == Mounted(Path("/sys/fs/cgroup/cpu,cpuacct"))
    hierarchy = Hierarchy(mounts)
    assert hierarchy.version == 1
    assert [str(folder) for folder in hierarchy.folders("/a/b")] == [
        "/sys/fs/cgroup/cpu,cpuacct/a/b",
        "/sys/fs/cgroup/memory/a/b",
        "/sys/fs/cgroup/pids/a/b",
    ]


def test_v2_is_one_folder() -> None:
    hierarchy = Hierarchy(mounts_in(V2))
    assert hierarchy.version == 2
    assert [str(file) for file in hierarchy.entrances("/a")] == ["/sys/fs/cgroup/a/cgroup.procs"]


def test_on_v1_a_process_joins_as_a_thread_which_is_quicker() -> None:
    hierarchy = Hierarchy({"memory": Mounted(Path("/m"))})
    assert [str(file) for file in hierarchy.entrances("/a")] == ["/m/a/tasks"]


def test_a_limit_that_cannot_be_had_is_an_error_with_its_name_and_value(tmp_path: Path) -> None:
    hierarchy = Hierarchy({"memory": Mounted(tmp_path)})
    with pytest.raises(OSError, match=r"memory.limit_in_bytes of /a can't be set to 67108864: No such file"):
        hierarchy.make("/a", Limits(memory_mib=64))


def test_where_swap_is_not_counted_memory_alone_is_limited(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "memory.limit_in_bytes").touch()
    Hierarchy({"memory": Mounted(tmp_path)}).make("/a", Limits(memory_mib=1, memory_swap_mib=2))
    assert (tmp_path / "a" / "memory.limit_in_bytes").read_text() == "1048576"


def test_where_only_a_branch_is_mounted_its_groups_are_found_by_their_full_name() -> None:
    hierarchy = Hierarchy(mounts_in(BRANCH))
    assert [str(folder) for folder in hierarchy.folders("/longshore/i-1/c")] == ["/sys/fs/cgroup/c"]


ALL = Limits(
    cpu_shares=1024,
    cpus=1.5,
    memory_mib=64,
    memory_swap_mib=96,
    memory_reservation_mib=32,
    pids=100,
    devices=("c 1:3 rwm",),
)


def test_limits_in_the_words_of_v1_swap_after_memory_and_denial_before_what_is_allowed() -> None:
    assert limits_v1(ALL) == [
        ("cpu.shares", "1024"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "150000"),
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "100663296"),
        ("pids.max", "100"),
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rwm"),
    ]


def test_limits_in_the_words_of_v2_where_swap_is_counted_apart() -> None:
    assert limits_v2(ALL) == [
        ("cpu.weight", "39"),
        ("cpu.max", "150000 100000"),
        ("memory.low", "33554432"),
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("pids.max", "100"),
    ]


def test_a_weight_is_relative_to_that_of_groups_that_were_told_nothing() -> None:
    half = Limits(weight=50, io_weight=50)
    assert limits_v1(half) == [("cpu.shares", "512")]
    assert limits_v2(half) == [("cpu.weight", "50"), ("io.weight", "default 50")]


def v2_tree(root: Path, *groups: str, offered: str = "cpuset cpu io memory pids") -> Hierarchy:
    """A fake one: plain files where the kernel has its own. What is written to one stays, value after value."""
    for group in ("", *groups):
        folder = root / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(offered)
        (folder / "cgroup.subtree_control").touch()
        if group:
            for file in (
                "cpu.weight",
                "cpu.max",
                "memory.max",
                "memory.low",
                "memory.swap.max",
                "pids.max",
                "io.weight",
                "io.max",
            ):
                (folder / file).touch()
    return Hierarchy({"unified": Mounted(root)})


def test_on_v2_a_group_gets_all_its_limits_and_those_above_it_none(tmp_path: Path) -> None:
    hierarchy = v2_tree(tmp_path, "longshore", "longshore/i-1")
    hierarchy.make("/longshore/i-1", msgspec.structs.replace(ALL, io_weight=50))
    made = tmp_path / "longshore" / "i-1"
    assert {file.name: file.read_text() for file in made.iterdir() if "cgroup" not in file.name} == {
        "cpu.weight": "39", "cpu.max": "150000 100000", "memory.max": "67108864", "memory.low": "33554432",
        "memory.swap.max": "33554432", "pids.max": "100", "io.weight": "default 50", "io.max": "",
    }  # fmt: skip
    assert [file.read_text() for file in (tmp_path / "longshore").glob("*.max")] == [""] * 5
    for folder in (tmp_path, tmp_path / "longshore"):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpu +memory +pids +io"
    # A group with processes hands nothing on: the lowest is left as it is.
    assert (made / "cgroup.subtree_control").read_text() == ""


def test_on_v2_everybody_may_pass_through_groups_whatever_the_umask(tmp_path: Path) -> None:
    hierarchy = v2_tree(tmp_path, "longshore")
    (tmp_path / "longshore").chmod(0o700)  # As it was made before.
    before = os.umask(0o077)
    try:
        hierarchy.make("/longshore/i-1")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / group).stat().st_mode) for group in ("longshore", "longshore/i-1")]
    assert modes == [0o755, 0o755]


@pytest.mark.parametrize("file", ["cpu.weight", "cpu.max", "pids.max", "io.weight", "memory.swap.max"])
def test_on_v2_a_job_runs_without_a_controller_that_the_host_does_not_hand_on(tmp_path: Path, file: str) -> None:
    hierarchy = v2_tree(tmp_path, "a")
    (tmp_path / "a" / file).unlink()
    hierarchy.make("/a", msgspec.structs.replace(ALL, io_weight=50))
    assert (tmp_path / "a" / "memory.max").read_text() == "67108864"


def test_on_v2_a_job_does_not_run_without_its_memorys_limit(tmp_path: Path) -> None:
    hierarchy = v2_tree(tmp_path, "a")
    (tmp_path / "a" / "memory.max").unlink()
    with pytest.raises(OSError, match=r"memory.max of /a can't be set to 67108864"):
        hierarchy.make("/a", ALL)


def test_on_v2_all_are_killed_by_one_word_where_the_kernel_has_it(tmp_path: Path) -> None:
    hierarchy = v2_tree(tmp_path, "a")
    (tmp_path / "a" / "cgroup.kill").touch()
    (tmp_path / "a" / "cgroup.procs").write_text(f"{os.getpid()}\n")
    hierarchy.kill_all("/a")
    assert (tmp_path / "a" / "cgroup.kill").read_text() == "1"


def test_on_v2_a_disk_is_slow_for_its_group_alone(tmp_path: Path) -> None:
    hierarchy = v2_tree(tmp_path, "longshore", "longshore/i-1")
    file = tmp_path / "longshore" / "i-1" / "io.max"
    hierarchy.set_disk_speed("/longshore/i-1", "7:3", DiskSpeed(bytes=1000, operations=20))
    assert file.read_text() == "7:3 rbps=1000 wbps=1000 riops=20 wiops=20"
    assert hierarchy.slow_disks(DiskSpeed(bytes=1000, operations=20)) == []
    hierarchy.set_disk_speed("/longshore/i-1", "7:3", None)
    assert file.read_text() == "7:3 rbps=max wbps=max riops=max wiops=max"


def test_on_v1_a_disk_is_slow_at_the_root_where_what_waits_in_memory_is_written(tmp_path: Path) -> None:
    assert disks_in(HYBRID) == Path("/sys/fs/cgroup/blkio")
    assert disks_in(HYBRID.replace("/ /sys/fs/cgroup/blkio", "/of-a-container /sys/fs/cgroup/blkio")) is None
    hierarchy = Hierarchy({"cpu": Mounted(tmp_path / "cpu")}, disks=tmp_path)
    speed = DiskSpeed(bytes=1000, operations=20)
    hierarchy.set_disk_speed("/longshore/i-1", "7:3", speed)
    files = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert files == {
        "blkio.throttle.read_bps_device": "7:3 1000", "blkio.throttle.write_bps_device": "7:3 1000",
        "blkio.throttle.read_iops_device": "7:3 20", "blkio.throttle.write_iops_device": "7:3 20",
    }  # fmt: skip
    (tmp_path / "blkio.throttle.write_bps_device").write_text("7:3 1000\n8:0 999\n")
    assert hierarchy.slow_disks(speed) == ["7:3"]
    hierarchy.set_disk_speed("/longshore/i-1", "7:3", None)
    assert {each.read_text() for each in tmp_path.iterdir()} == {"7:3 0"}
    with pytest.raises(OSError, match="blkio"):
        Hierarchy({"cpu": Mounted(tmp_path)}).set_disk_speed("/longshore/i-1", "7:3", speed)


@pytest.mark.parametrize("controller", ["cpu", "unified"])
def test_a_group_that_others_come_before_is_told_so_once(tmp_path: Path, controller: str) -> None:
    hierarchy = Hierarchy({controller: Mounted(tmp_path)})
    assert not hierarchy.set_idle("/a", True)  # There is no such group.
    (tmp_path / "a").mkdir()
    assert not hierarchy.set_idle("/a", True)  # The kernel does not know of it.
    file = tmp_path / "a" / "cpu.idle"
    file.write_text("0\n")
    assert hierarchy.set_idle("/a", False) and file.read_text() == "0\n"
    assert hierarchy.set_idle("/a", True) and file.read_text() == "1"
    assert hierarchy.set_idle("/a", False) and file.read_text() == "0"


def test_on_v2_those_in_a_containers_first_group_step_down_so_that_it_hands_on(tmp_path: Path) -> None:
    """With the kernel's own groups, in a namespace that begins at one that has processes, as Docker's containers have it."""
    hierarchy = own_hierarchy(version=2)
    program = """
import pathlib, subprocess, sys
from longshore.host.cgroups import Hierarchy, Limits
beside = subprocess.Popen(["sleep", "60"])
hierarchy = Hierarchy.of_this_process()
try:
    hierarchy.make("/longshore/i-1", Limits(memory_mib=64, pids=50))
    hierarchy.make("/longshore/i-2", Limits(memory_mib=32))
    top = pathlib.Path("/sys/fs/cgroup")
    print(*(pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip() for pid in ("self", beside.pid)))
    print((top / "longshore/i-1/memory.max").read_text(), (top / "longshore/i-2/memory.max").read_text())
    print([(top / "cgroup.procs").read_text()], hierarchy.remove("/longshore"))
finally:
    beside.kill()
    beside.wait()
"""
    group = hierarchy.folders(GROUP)[0]
    inside = f"""echo $$ >{group}/cgroup.procs && exec unshare -C -m sh -ec '
umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"' sh "$@" """
    try:
        done = subprocess.run(["sh", "-c", inside, "sh", sys.executable, "-c", program], capture_output=True, text=True)
    finally:
        hierarchy.kill_all(GROUP)
        gone = hierarchy.remove(GROUP)
    assert done.stdout.splitlines() == ["0::/init 0::/init", "67108864", " 33554432", "", "[''] True"], done.stderr
    assert gone


def test_on_v2_another_group_than_the_first_that_has_processes_is_an_error_that_names_it(tmp_path: Path) -> None:
    hierarchy = own_hierarchy(version=2)
    process = subprocess.Popen(["sleep", "60"])
    try:
        hierarchy.join(GROUP, process.pid)
        with pytest.raises(OSError, match=rf"{GROUP} can't hand on \+cpu .*: Device or resource busy"):
            hierarchy.make(f"{GROUP}/below", Limits(pids=5))
    finally:
        process.kill()
        process.wait()
        gone = hierarchy.remove(GROUP)
    assert gone


def test_nothing_asked_is_nothing_written() -> None:
    assert limits_v1(Limits()) == limits_v2(Limits()) == []


@pytest.mark.parametrize(("shares", "expected"), [(0, 1), (2, 1), (1024, 39), (262144, 10000), (10**9, 10000)])
def test_shares_become_weights(shares: int, expected: int) -> None:
    assert weight(shares) == expected


def test_on_v2_each_group_hands_on_what_it_is_offered(tmp_path: Path) -> None:
    for folder, offered in ((tmp_path, "cpu memory"), (tmp_path / "a", "cpu memory pids")):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text(offered)
        (folder / "cgroup.subtree_control").write_text("cpu" if folder == tmp_path else "")
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "a" / "b" / "pids.max").touch()
    Hierarchy({"unified": Mounted(tmp_path)}).make("/a/b", Limits(pids=5))
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert (tmp_path / "a" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (tmp_path / "a" / "b" / "pids.max").read_text() == "5"


def test_kills_for_want_of_memory_are_read_in_both_layouts(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert Hierarchy({"unified": Mounted(tmp_path)}).oom_kills("/") == 2
    assert Hierarchy({"memory": Mounted(tmp_path)}).oom_kills("/") == 1
    assert Hierarchy({"memory": Mounted(tmp_path)}).oom_kills("/gone") == 0


def own_hierarchy(version: int | None = None) -> Hierarchy:
    """With the group `GROUP`. None: of either version."""
    if os.geteuid() != 0:
        pytest.skip("control groups are made by root alone")
    try:
        hierarchy = Hierarchy.of_this_process()
        if version not in (None, hierarchy.version):
            pytest.skip(f"control groups are v{hierarchy.version} here; scripts/in-a-machine has the other")
        hierarchy.make(GROUP)
    except OSError as error:
        pytest.skip(f"this machine lets us make no control groups: {error}")
    return hierarchy


GROUP = f"/longshore-test-{os.getpid()}"


def test_a_group_is_made_joined_killed_and_removed() -> None:
    hierarchy = own_hierarchy()
    child = f"{GROUP}/child"
    hierarchy.make(child, Limits(pids=50))
    assert hierarchy.groups(GROUP) == [child]
    # It waits for a line of ours, so that it is in the group before it has a child of its own.
    process = subprocess.Popen(["/bin/sh", "-c", "read go; sleep 60 & wait"], stdin=subprocess.PIPE)
    try:
        hierarchy.join(child, process.pid)
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        for _ in range(500):
            if len(hierarchy.processes(GROUP)) == 2:
                break
            time.sleep(0.01)
        assert len(hierarchy.processes(GROUP)) == 2
        assert not hierarchy.remove(GROUP)
        hierarchy.kill_all(GROUP)
        assert process.wait(timeout=10) == -9
    finally:
        hierarchy.kill_all(GROUP)
        process.kill()
        process.communicate()
    for _ in range(500):
        if hierarchy.remove(GROUP):
            break
        time.sleep(0.01)
    assert not any(folder.exists() for folder in hierarchy.folders(GROUP))
