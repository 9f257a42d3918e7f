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

# Lines for some seconds, each once: what is lost or repeated is seen.
COUNTS = "for i in $(busybox seq 1 {}); do echo line $i; sleep 0.1; done; exit {}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """Starts a server with these options. Whatever the test did to it, nothing is left on the host afterwards."""
    needs_local_machines()
    made: list[Chain] = []

    def start(*arguments: str) -> Chain:
        made.append(Chain(tmp_path, *("--vcpus", "4", "--memory-mib", "16384"), *arguments))
        return made[0]

    try:
        yield start
    finally:
        for chain in made:
            chain.destroy()


def counted(number: int) -> list[str]:
    return [f"line {each}" for each in range(1, number + 1)]


def begun(chain: Chain, job_id: str) -> dict[str, Any]:
    """The job when it has written something."""
    job = chain.until(job_id, "RUNNING")
    wait_for(lambda: chain.lines(job))
    return job


def test_jobs_go_on_while_their_agent_is_killed(house: Callable[..., Chain]) -> None:
    chain = house()
    lasting, short = chain.submit(chain.define(COUNTS.format(40, 3))), chain.submit(chain.define(COUNTS.format(10, 0)))
    instance_id = chain.instance_of(begun(chain, lasting))
    begun(chain, short)
    agent = chain.agent_process(instance_id)
    assert agent is not None
    for _ in range(2):
        os.kill(agent, signal.SIGKILL)
        # `short` ends while nobody looks.
        agent = wait_for(lambda before=agent: _other_agent(chain, instance_id, before), 15)
    ended = chain.ended(short)
    assert (ended["status"], ended["container"]["exitCode"], len(ended["attempts"])) == ("SUCCEEDED", 0, 1)
    assert chain.lines(ended) == counted(10)
    ended = chain.ended(lasting)
    assert (ended["status"], ended["container"]["exitCode"], len(ended["attempts"])) == ("FAILED", 3, 1)
    assert chain.lines(ended) == counted(40)
    assert chain.run("echo after")["status"] == "SUCCEEDED"
    assert chain.standing(instance_id).agent_starts == 3
    assert chain.end() == 0


def _other_agent(chain: Chain, instance_id: str, before: int) -> int | None:
    found = chain.agent_process(instance_id)
    return found if found != before else None


def test_jobs_go_on_while_the_server_is_killed(house: Callable[..., Chain]) -> None:
    chain = house()
    lasting, short = chain.submit(chain.define(COUNTS.format(60, 3))), chain.submit(chain.define(COUNTS.format(10, 0)))
    instance_id = chain.instance_of(begun(chain, lasting))
    begun(chain, short)
    waiting = chain.submit(chain.define("echo after both"), dependsOn=[{"jobId": lasting}])
    pid = chain.standing(instance_id).pid
    chain.server.kill()
    time.sleep(1.5)  # Meanwhile the short one ends, and nobody hears of it.
    chain.start_again()
    ended = chain.ended(short)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 1)
    assert chain.lines(ended) == counted(10)
    assert chain.job(lasting)["status"] == "RUNNING"
    ended = chain.ended(lasting)
    assert (ended["container"]["exitCode"], len(ended["attempts"])) == (3, 1)
    assert chain.lines(ended) == counted(60)
    assert chain.standing(instance_id).pid == pid
    assert chain.ended(waiting)["statusReason"].startswith("Dependent Job failed")
    again = chain.run("echo again")
    assert chain.instance_of(again) == instance_id
    assert chain.end() == 0


def test_instances_are_adopted_when_the_supervisor_is_killed(house: Callable[..., Chain]) -> None:
    chain = house()
    lasting = chain.submit(chain.define(COUNTS.format(40, 0)))
    instance_id = chain.instance_of(begun(chain, lasting))
    before, pid = chain.supervisor_process(), chain.standing(instance_id).pid
    os.kill(before, signal.SIGKILL)
    assert wait_for(lambda: _supervisor_other_than(chain, before), 15)
    assert chain.standing(instance_id).pid == pid
    ended = chain.ended(lasting)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 1)
    assert chain.lines(ended) == counted(40)
    # A new instance is made by the new one, and both end with it.
    sizes = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "64"}]
    held = chain.submit(chain.define("sleep 60", resourceRequirements=sizes))
    chain.until(held, "RUNNING")
    other = chain.run("true", resourceRequirements=sizes)
    assert other["status"] == "SUCCEEDED"
    assert {chain.instance_of(other), chain.instance_of(chain.job(held))} > {instance_id}
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
