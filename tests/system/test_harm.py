"""Jobs that harm: while one does its worst on an instance, a neighbour's job on the same instance and a call to the server
take at most twice as long as without it.

The machine that this runs on may be busy with other things, and busier at one time than at another. So rounds with the
attack and rounds without it take turns, each as short as can be, and the medians of all are compared. What is told at the
end of each is the ratio (`pytest -s`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from longshore.host.cgroups import Hierarchy
from longshore.supervisor.giving_way import Use, use_in
from system.chain import ENDED, Chain, needs_local_machines
from system.running import wait_for

# What loads the whole machine would make liars of the tests beside it: run alone, by `pytest -m long tests/system/test_harm.py`.
pytestmark = [pytest.mark.xdist_group("harm"), pytest.mark.long]

# Rounds, more of them where the first are in doubt, and what is done in each.
ROUNDS, ROUNDS_MAX, NO_OPS, CALLS, WRITES = 2, 8, 6, 40, 10
LOOK_SECONDS = 0.004  # Seldom enough that looking is no load, often enough that it says when a job of 25 ms has ended.
# Of medians: what the issue allows, and how exactly can be measured what is so short.
RATIO_MAX = 2.0
SLACK_SECONDS = {"no-op job": 0.005, "GetCallerIdentity": 0.001, "TagRole": 0.001}
# Each says `at it` when it is, and goes on until it is terminated.
WORST = {
    "forks": "echo at it; f() { f & f & f; }; while :; do (f) 2>/dev/null; done",
    "processes": "echo at it; while :; do sleep 100 & done 2>/dev/null",
    "memory": "echo at it; while :; do sh -c 'x=a; while :; do x=$x$x; done' 2>/dev/null; done",
    "disk": "echo at it; while :; do dd if=/dev/zero of=/fill bs=1048576 2>/dev/null; rm /fill; done",
    "files": "echo at it; i=0; while :; do i=$((i+1)); mkdir -p /d/$i; echo x >/d/$i/x; done 2>/dev/null",
    "shared memory": "echo at it; while :; do dd if=/dev/zero of=/dev/shm/fill bs=1048576 2>/dev/null; rm /dev/shm/fill; done",
    "log": "echo at it; exec busybox yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "processor": "echo at it; for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    needs_local_machines()
    chain = Chain(tmp_path_factory.mktemp("house"), "--vcpus", "4", "--memory-mib", "16384", "--disk-gib", "4")
    try:
        chain.queue("tight", vcpus=2)
        yield chain
    except BaseException:
        chain.destroy()
        raise
    assert chain.end() == 0


class Measured(Struct):
    """Seconds of each time."""

    no_ops: list[float] = []
    calls: list[float] = []
    writes: list[float] = []

    def round(self, chain: Chain, definition: str) -> None:
        for _ in range(NO_OPS):
            began = time.monotonic()
            job_id = chain.submit(definition, "tight")
            while (job := chain.job(job_id))["status"] not in ENDED:
                assert time.monotonic() - began < 60, job
                time.sleep(LOOK_SECONDS)
            assert job["status"] == "SUCCEEDED"
            self.no_ops.append(time.monotonic() - began)
        sts = chain.server.client("sts")
        sts.get_caller_identity()
        for _ in range(CALLS):
            began = time.monotonic()
            sts.get_caller_identity()
            self.calls.append(time.monotonic() - began)
        for number in range(WRITES):
            began = time.monotonic()
            chain.iam.tag_role(RoleName="ecsInstanceRole", Tags=[{"Key": "harm", "Value": str(number)}])
            self.writes.append(time.monotonic() - began)

    def medians(self) -> dict[str, float]:
        return {
            "no-op job": statistics.median(self.no_ops),
            "GetCallerIdentity": statistics.median(self.calls),
            "TagRole": statistics.median(self.writes),
        }


@contextlib.contextmanager
def at_its_worst(chain: Chain, script: str) -> Iterator[str]:
    sizes = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}]
    job_id = chain.submit(chain.define(script, resourceRequirements=sizes), "tight")
    chain.until(job_id, "RUNNING")
    stream = chain.job(job_id)["container"]["logStreamName"]

    def says_so() -> list[Any]:
        named = {"logGroupName": "/aws/batch/job", "logStreamName": stream}
        return list(chain.logs.get_log_events(**named, startFromHead=True, limit=1)["events"])

    wait_for(says_so)
    time.sleep(1.0)  # It needs a moment to come to its walls.
    try:
        yield job_id
    finally:
        # Not by TerminateJob: it would be given half a minute to end by itself.
        kill(chain, job_id)
        ended = chain.ended(job_id, 60)
    assert ended["status"] == "FAILED"


def kill(chain: Chain, job_id: str) -> None:
    """Its first process, and with that, by the kernel, all of them."""
    group = f"/longshore/{chain.instance_of(chain.job(job_id))}/containers"
    groups = Hierarchy.of_this_process()
    for pid in groups.processes(group):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            numbers = next(line.split()[1:] for line in status if line.startswith("NSpid:"))
            if len(numbers) == 3 and numbers[-1] == "1":
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", WORST)
def test_a_job_at_its_worst_harms_itself_alone(
    house: Chain, kind: str, record_property: Callable[[str, object], None]
) -> None:
    definition = house.define("true")
    without, beside = Measured(), Measured()
    Measured().round(house, definition)  # Whatever is slow the first time.
    for number in range(1, ROUNDS_MAX + 1):
        without.round(house, definition)
        with at_its_worst(house, WORST[kind]) as job_id:
            beside.round(house, definition)
            assert house.job(job_id)["status"] in ("RUNNING", "FAILED")
        before, during = without.medians(), beside.medians()
        too_slow = [each for each in before if during[each] > before[each] * RATIO_MAX + SLACK_SECONDS[each]]
        if number >= ROUNDS and not too_slow:
            break
    for what in before:
        record_property(what, f"{before[what]:.4f} {during[what]:.4f}")
        ratio = during[what] / before[what]
        print(f"\n{kind}: {what} {before[what] * 1000:.1f} -> {during[what] * 1000:.1f} ms, {ratio:.2f} times")
    assert too_slow == []


def of_others(groups: Hierarchy) -> float:
    """What all but instances use of the processors within a second, 0 to 1."""

    def now() -> Use:
        stat = Path("/proc/stat").read_text()
        return use_in(stat, groups.cpu_seconds("/longshore") or 0.0, os.sysconf("SC_CLK_TCK"))

    before = now()
    time.sleep(1.0)
    after = now()
    return (after.used - before.used - after.ours + before.ours) / (after.there - before.there)


def test_jobs_let_all_else_in_front_and_do_not_stand_still_when_that_computes(house: Chain) -> None:
    groups = Hierarchy.of_this_process()
    cores = os.cpu_count() or 1
    if of_others(groups) > 0.35:
        pytest.skip("others compute on this host, so that jobs let nobody in front now")
    busy: list[subprocess.Popen[bytes]] = []
    try:
        with at_its_worst(house, WORST["processor"]):
            idle = [file for folder in groups.folders("/longshore") if (file := folder / "cpu.idle").exists()]
            if not idle:
                pytest.skip("this kernel has no groups that are idle")
            wait_for(lambda: idle[0].read_text().strip() == "1")
            busy += [subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) for _ in range(cores)]
            wait_for(lambda: idle[0].read_text().strip() == "0")
            began, before = time.monotonic(), groups.cpu_seconds("/longshore")
            time.sleep(2.0)
            after, seconds = groups.cpu_seconds("/longshore"), time.monotonic() - began
            assert before is not None and after is not None
            # As one more program it has one part in one more than cores; the test itself and the server take some of it.
            assert (after - before) / (seconds * cores) > 0.6 / (cores + 1)
            for process in busy:
                process.kill()
            wait_for(lambda: idle[0].read_text().strip() == "1")
    finally:
        for process in busy:
            process.kill()
            process.wait(10)


def test_a_job_that_fills_its_disk_is_told_so_and_nobody_else(house: Chain) -> None:
    script = "dd if=/dev/zero of=/fill bs=1048576 2>&1; echo; rm /fill; echo x >/x && echo again"
    job = house.ended(house.submit(house.define(script), "tight"), 90)
    lines = house.lines(job)
    assert job["status"] == "SUCCEEDED" and any("No space left on device" in line for line in lines)
    assert lines[-1] == "again"
    # Two of the four vCPUs are two of the four GiB.
    taken = sum(file.stat().st_blocks * 512 for file in house.state.glob("instances/*/disk"))
    assert 1.5 * 2**30 < taken <= 2 * 2**30


def test_a_containers_processes_are_counted_and_the_machines_numbers_do_not_run_out(house: Chain) -> None:
    with at_its_worst(house, "echo at it; exec sleep 100") as job_id:
        group = f"/longshore/{house.instance_of(house.job(job_id))}"
        limits = [
            int(path.read_text())
            for folder in Hierarchy.of_this_process().folders(group)
            for path in (*folder.glob("pids.max"), *folder.glob("containers/*/pids.max"))
            if path.read_text().strip() != "max"
        ]
    assert len(limits) >= 2
    assert max(limits) <= int(Path("/proc/sys/kernel/pid_max").read_text()) // 2
    assert min(limits) <= int(Path("/proc/sys/kernel/pid_max").read_text()) // 4
