"""Jobs that harm: while one does its worst on an instance, a neighbour's job on the same instance and a call to the server
take about as long as before. The bars are wide, for busy machines; the figures are printed (`pytest -s`) and recorded.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from longshore.host.cgroups import Hierarchy
from system.chain import Chain, needs_local_machines
from system.running import wait_for

# What loads the whole machine would make liars of the tests beside it: run alone, by `pytest -m long tests/system/test_harm.py`.
pytestmark = [pytest.mark.xdist_group("harm"), pytest.mark.long]

NO_OPS, CALLS = 4, 40
NO_OP_SECONDS, CALL_SECONDS = 6.0, 0.5  # medians; on a quiet machine 0.1 and 0.003
# Each says `at it` when it is, and goes on until it is terminated.
WORST = {
    "forks": "echo at it; f() { f & f & f; }; while :; do (f) 2>/dev/null; done",
    "processes": "echo at it; while :; do sleep 100 & done 2>/dev/null",
    "memory": "echo at it; while :; do sh -c 'x=a; while :; do x=$x$x; done' 2>/dev/null; done",
    # Bounded here, since nothing else bounds it: see docs/security.md.
    "disk": "echo at it; while :; do dd if=/dev/zero of=/fill bs=1048576 count=512 2>/dev/null; rm /fill; done",
    "shared memory": "echo at it; while :; do dd if=/dev/zero of=/dev/shm/fill bs=1048576 2>/dev/null; rm /dev/shm/fill; done",
    "log": "echo at it; exec busybox yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "processor": "echo at it; for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    needs_local_machines()
    chain = Chain(tmp_path_factory.mktemp("house"), "--vcpus", "4", "--memory-mib", "16384")
    try:
        chain.queue("tight", vcpus=2)
        yield chain
    except BaseException:
        chain.destroy()
        raise
    assert chain.end() == 0


class Measured(Struct, frozen=True):
    """Medians."""

    no_op_seconds: float
    call_seconds: float


def measured(chain: Chain, definition: str) -> Measured:
    jobs, calls = [], []
    for _ in range(NO_OPS):
        began = time.monotonic()
        job_id = chain.submit(definition, "tight")
        assert chain.ended(job_id, 60)["status"] == "SUCCEEDED"
        jobs.append(time.monotonic() - began)
    sts = chain.server.client("sts")
    for _ in range(CALLS):
        began = time.monotonic()
        sts.get_caller_identity()
        calls.append(time.monotonic() - began)
    return Measured(statistics.median(jobs), statistics.median(calls))


@pytest.fixture(scope="module")
def before(house: Chain) -> Measured:
    definition = house.define("true")
    measured(house, definition)
    return measured(house, definition)


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
        chain.batch.terminate_job(jobId=job_id, reason="Enough")
        ended = chain.ended(job_id, 90)
    assert ended["status"] == "FAILED"


@pytest.mark.parametrize("kind", WORST)
def test_a_job_at_its_worst_harms_itself_alone(
    house: Chain, before: Measured, kind: str, record_property: Callable[[str, object], None]
) -> None:
    definition = house.define("true")
    with at_its_worst(house, WORST[kind]) as job_id:
        during = measured(house, definition)
        job = house.job(job_id)
        assert job["status"] in ("RUNNING", "FAILED")
    record_property("before", str(before))
    record_property("during", str(during))
    print(
        f"\n{kind}: no-op job {before.no_op_seconds * 1000:.0f} -> {during.no_op_seconds * 1000:.0f} ms, "
        f"GetCallerIdentity {before.call_seconds * 1000:.1f} -> {during.call_seconds * 1000:.1f} ms"
    )
    assert during.no_op_seconds < NO_OP_SECONDS
    assert during.call_seconds < CALL_SECONDS
    # The instance is as good as before.
    assert house.ended(house.submit(definition, "tight"))["status"] == "SUCCEEDED"


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
