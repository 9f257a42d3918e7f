"""What dies on machines of this host, and what goes on; and that nothing is left at the end. A server for each test."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from system.chain import Chain, needs_local_machines
from system.running import wait_for
from system.storm import SIZES, VICTIMS, Storm

# Writes numbered lines until its gate is opened: what is lost is seen.
COUNTS = "i=0; until [ -e /gates/{} ]; do i=$((i+1)); echo line $i; sleep 0.05; done; echo ends after $i; exit {}"


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    made = tmp_path / "gates"
    made.mkdir()
    return made


@pytest.fixture
def house(tmp_path: Path, gates: Path) -> Iterator[Callable[..., Chain]]:
    """Starts a server with these options. Whatever the test did to it, nothing is left on the host afterwards."""
    needs_local_machines()
    made: list[Chain] = []

    def start(*arguments: str) -> Chain:
        sizes = () if "--vcpus" in arguments else ("--vcpus", "4", "--memory-mib", "16384")
        made.append(Chain(tmp_path, *sizes, "--share", str(gates), *arguments))
        return made[0]

    try:
        yield start
    finally:
        for chain in made:
            chain.destroy()


def counting(chain: Chain, gates: Path, gate: str, exit_code: int) -> str:
    """A job that has begun to count, and goes on until there is a file of the gate's name."""
    definition = chain.define(
        COUNTS.format(gate, exit_code),
        volumes=[{"name": "gates", "host": {"sourcePath": str(gates)}}],
        mountPoints=[{"sourceVolume": "gates", "containerPath": "/gates"}],
    )
    job_id = chain.submit(definition)
    begun(chain, job_id)
    return job_id


def begun(chain: Chain, job_id: str) -> dict[str, Any]:
    """The job when it has written something."""
    job = chain.until(job_id, "RUNNING")
    wait_for(lambda: chain.lines(job))
    return job


def assert_whole(chain: Chain, job_id: str, exit_code: int) -> None:
    """It ended by itself, at its first attempt, and its log has each line once."""
    job = chain.ended(job_id)
    assert (job["container"]["exitCode"], len(job["attempts"])) == (exit_code, 1)
    assert job["statusReason"] == "Essential container in task exited"
    lines = wait_for(lambda: (found := chain.lines(job)) and found[-1].startswith("ends after ") and found)
    count = len(lines) - 1
    assert lines == [*(f"line {each}" for each in range(1, count + 1)), f"ends after {count}"]


def test_jobs_go_on_while_their_agent_is_killed(house: Callable[..., Chain], gates: Path) -> None:
    chain = house()
    lasting, short = counting(chain, gates, "lasting", 3), counting(chain, gates, "short", 0)
    instance_id = chain.instance_of(chain.job(lasting))
    agent = chain.agent_process(instance_id)
    assert agent is not None
    for _ in range(2):
        os.kill(agent, signal.SIGKILL)
        (gates / "short").touch()  # It ends while nobody looks.
        agent = wait_for(lambda before=agent: _other_agent(chain, instance_id, before), 15)
    assert_whole(chain, short, 0)
    assert chain.job(lasting)["status"] == "RUNNING"
    (gates / "lasting").touch()
    assert_whole(chain, lasting, 3)
    assert chain.run("echo after")["status"] == "SUCCEEDED"
    assert chain.standing(instance_id).agent_starts == 3
    assert chain.end() == 0


def _other_agent(chain: Chain, instance_id: str, before: int) -> int | None:
    found = chain.agent_process(instance_id)
    return found if found != before else None


def test_jobs_go_on_while_the_server_is_killed(house: Callable[..., Chain], gates: Path) -> None:
    chain = house()
    lasting, short = counting(chain, gates, "lasting", 3), counting(chain, gates, "short", 0)
    waiting = chain.submit(chain.define("echo never"), dependsOn=[{"jobId": lasting}])
    instance_id = chain.instance_of(chain.job(lasting))
    pid = chain.standing(instance_id).pid
    chain.server.kill()
    (gates / "short").touch()  # It ends, and nobody hears of it.
    time.sleep(1)
    chain.start_again()
    assert_whole(chain, short, 0)
    assert chain.job(lasting)["status"] == "RUNNING"
    (gates / "lasting").touch()
    assert_whole(chain, lasting, 3)
    assert chain.ended(waiting)["statusReason"].startswith("Dependent Job failed")
    assert chain.standing(instance_id).pid == pid
    assert chain.instance_of(chain.run("echo again")) == instance_id
    assert chain.end() == 0


def test_instances_are_adopted_when_the_supervisor_is_killed(house: Callable[..., Chain], gates: Path) -> None:
    chain = house()
    lasting = counting(chain, gates, "lasting", 0)
    instance_id = chain.instance_of(chain.job(lasting))
    before, pid = chain.supervisor_process(), chain.standing(instance_id).pid
    os.kill(before, signal.SIGKILL)
    assert wait_for(lambda: _supervisor_other_than(chain, before), 15)
    assert chain.standing(instance_id).pid == pid
    # It makes a new instance beside the one that it has found: two vCPUs are not to be had on that.
    sizes = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "64"}]
    other = chain.run("true", resourceRequirements=sizes)
    assert other["status"] == "SUCCEEDED" and chain.instance_of(other) != instance_id
    (gates / "lasting").touch()
    assert_whole(chain, lasting, 0)
    assert chain.end() == 0


def _supervisor_other_than(chain: Chain, before: int) -> bool:
    try:
        return chain.supervisor_process() != before
    except Exception:  # None listens yet.
        return False


def test_an_instance_that_dies_ends_its_attempts_and_a_retry_runs_elsewhere(house: Callable[..., Chain]) -> None:
    chain = house()
    script = 'echo attempt $AWS_BATCH_JOB_ATTEMPT; [ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 60'
    rules = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    job_id = chain.submit(chain.define(script), retryStrategy={"attempts": 3, "evaluateOnExit": rules})
    instance_id = chain.instance_of(begun(chain, job_id))
    os.kill(chain.standing(instance_id).pid, signal.SIGKILL)
    job = chain.ended(job_id)
    assert job["status"] == "SUCCEEDED" and chain.lines(job) == ["attempt 2"]
    assert job["attempts"][0]["statusReason"] == f"Host EC2 (instance {instance_id}) terminated."
    assert "exitCode" not in job["attempts"][0]["container"]
    assert chain.states()[instance_id] == "terminated"
    assert chain.instance_of(job) != instance_id
    assert chain.end() == 0


def test_sigterm_with_jobs_running_leaves_nothing_and_does_not_take_long(house: Callable[..., Chain]) -> None:
    chain = house()
    for _ in range(3):
        begun(chain, chain.submit(chain.define("echo up; trap '' TERM; while :; do sleep 0.1; done")))
    assert any(each.startswith("process") for each in chain.remains())
    began = time.monotonic()
    # Looks for processes, names, mounts, control groups, links and tables.
    assert chain.end() == 0
    assert time.monotonic() - began < 10
    left = {path.name for path in chain.state.iterdir()}
    assert left.isdisjoint({"instances", "trash", "supervisor.sock", "fabric.json"})


def test_it_starts_again_after_a_clean_end_with_what_was_there(house: Callable[..., Chain]) -> None:
    chain = house()
    definition = chain.define("echo hello")
    first = chain.ended(chain.submit(definition))
    chain.server.end()
    chain.start_again()
    # Its instances ended with it.
    wait_for(lambda: set(chain.states().values()) <= {"terminated"})
    assert chain.lines(chain.job(first["jobId"])) == ["hello"]
    assert chain.ended(chain.submit(definition))["status"] == "SUCCEEDED"
    assert chain.end() == 0


def test_instances_without_work_go_and_come_back(house: Callable[..., Chain]) -> None:
    chain = house("--idle-seconds", "2")
    first = chain.run("true")
    instance_id = chain.instance_of(first)
    wait_for(lambda: chain.states()[instance_id] == "terminated", 20)
    assert not (chain.state / "instances" / instance_id).exists()
    resources = chain.environment("default")["computeResources"]
    assert (resources["desiredvCpus"], resources["minvCpus"]) == (0, 0)
    # It is not ended under a job that lasts longer than that.
    second = chain.run("sleep 4; echo done")
    assert chain.lines(second) == ["done"] and len(second["attempts"]) == 1
    assert chain.end() == 0


def test_reset_ends_running_jobs_at_once_and_leaves_an_empty_account(house: Callable[..., Chain]) -> None:
    chain = house("--for-tests")
    for _ in range(2):
        begun(chain, chain.submit(chain.define("echo up; trap '' TERM; while :; do sleep 0.1; done")))
    began = time.monotonic()
    urllib.request.urlopen(urllib.request.Request(f"{chain.server.endpoint}/_longshore/reset", method="POST")).close()
    # "Well under a second"; the rest is for a busy machine.
    assert time.monotonic() - began < 3
    assert chain.batch.describe_compute_environments()["computeEnvironments"] == []
    assert chain.batch.describe_job_queues()["jobQueues"] == []
    assert chain.iam.list_roles()["Roles"] == [] and chain.states() == {}
    assert chain.logs.describe_log_groups()["logGroups"] == []
    assert list((chain.state / "instances").iterdir()) == []
    assert _shells_in(chain) == []
    # And it can be filled again.
    chain.instance_role("ecsInstanceRole")
    chain.queue("anew")
    job = chain.ended(chain.submit(chain.define("echo anew"), queue="anew"))
    assert job["status"] == "SUCCEEDED", job
    assert chain.lines(job) == ["anew"]
    assert chain.end() == 0


def _shells_in(chain: Chain) -> list[str]:
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True, timeout=20).stdout
    return [line for line in shown.splitlines() if str(chain.state) in line and "instances" in line]


def test_whatever_is_killed_while_fifty_jobs_run_each_runs_once_and_each_line_is_there_once(
    house: Callable[..., Chain], gates: Path
) -> None:
    """Six moments; `python -m system.storm` makes a hundred."""
    chain = house(*SIZES)
    storm = Storm(chain, gates, steps=40)
    for seed in range(6):
        storm.moment(seed)
    assert set(storm.kills) == set(VICTIMS) and len(storm.steps) >= 50
    storm.check()
    assert chain.end() == 0
