"""Seeds: whatever happens, the invariants hold. And a planted bug is found, so that the watch is known to be awake.

2,000 seeds in every run of the tests, 500 of them with the harsher faults; LONGSHORE_SEEDS and LONGSHORE_HARSH_SEEDS change
that, and 100,000 go by `python -m simulation.run --count 100000 --processes 2 [--harsh]`.
"""

from __future__ import annotations

import os
import re
from collections import Counter

import pytest
from msgspec.structs import replace

from longshore.agent.late_logs import LateLogs
from longshore.server.indoors import Indoors
from longshore.services.batch import life, lifecycle, store, tasks
from longshore.services.batch.effects import Effects
from longshore.services.batch.records import Array, Status
from longshore.services.batch.troubles import Later
from longshore.services.logs import repeats
from simulation.run import run
from simulation.world import HARSH, HARSH_KINDS, MILD_KINDS, Faults

SEEDS = int(os.environ.get("LONGSHORE_SEEDS", "1500"))
HARSH_SEEDS = int(os.environ.get("LONGSHORE_HARSH_SEEDS", "500"))
_PORTION = 50


@pytest.mark.parametrize("first", range(0, SEEDS, _PORTION))
def test_whatever_happens_the_invariants_hold(first: int) -> None:
    struck: Counter[str] = Counter()
    for seed in range(first, min(first + _PORTION, SEEDS)):
        struck.update(run(seed).struck)
    assert struck.keys() >= MILD_KINDS, f"these never struck: {MILD_KINDS - struck.keys()}"


@pytest.mark.parametrize("first", range(0, HARSH_SEEDS, _PORTION))
def test_whatever_happens_harshly_the_invariants_hold(first: int) -> None:
    """The clock jumps, what was given up arrives late and out of order, agents come back with what they knew before."""
    struck: Counter[str] = Counter()
    for seed in range(first, min(first + _PORTION, HARSH_SEEDS)):
        struck.update(run(seed, faults=HARSH).struck)
    assert struck.keys() >= HARSH_KINDS, f"these never struck: {HARSH_KINDS - struck.keys()}"


def test_a_seed_tells_the_same_story_twice() -> None:
    assert run(7) == run(7)
    assert run(7, faults=HARSH) == run(7, faults=HARSH) != run(7)


def test_a_silent_agent_that_is_taken_for_a_dead_machine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fence: whoever does not answer may still run what it was given, and only its machine can say otherwise."""
    crash = Indoors.crash

    def impatient(self: Indoors, instance_id: str) -> None:
        crash(self, instance_id)
        self._house.ports["machines"].on_report(
            instance_id, "terminated", "Server.InternalError: nothing was heard of it"
        )

    monkeypatch.setattr(Indoors, "crash", impatient)
    for seed in range(50):
        try:
            run(seed)
        except AssertionError as broken:
            # An instance on which nothing ran stays for ever, which is found as well.
            if re.match(r"seed \d+: attempt \d+ was ended while its container runs", str(broken)):
                return
    pytest.fail("nobody noticed")


def test_an_array_that_ends_with_its_first_failed_child_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reader of AWS's guide might take it: one child has failed, so the array has."""
    monkeypatch.setattr(Array, "has_ended", property(_has_ended_or_failed))
    with pytest.raises(
        AssertionError, match=r"seed \d+: .*(it ended without its children|counted|a child ran before its parent)"
    ):
        for seed in range(50):
            run(seed, jobs=20)


def _has_ended_or_failed(array: Array) -> bool:
    return array.counts[Status.FAILED] > 0 or array.counts[Status.SUCCEEDED] == array.size


def test_a_counterpart_that_is_not_waited_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "links_of", lambda tx, number: [])
    with pytest.raises(AssertionError, match=r"seed \d+: a child ran before its parent"):
        for seed in range(50):
            run(seed)


def test_an_effect_that_is_done_before_its_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is started in a commit of its own, under a name of its own, and only the next commit knows of it: if the
    server dies between the two, the next start starts it again."""
    carry = Effects._carry

    async def careless(self, house, intent) -> None:
        if intent.kind != "start":
            await carry(self, house, intent)
            return
        turn = house.turn("batch", account=intent.account, region=intent.region)
        started = await turn.write(lambda call: _start(call, intent))
        await turn.write(lambda call: _take_down(call, intent, started))

    monkeypatch.setattr(tasks, "start_at_once", lambda *_: Later(0))
    monkeypatch.setattr(Effects, "_carry", careless)
    with pytest.raises(
        AssertionError, match=r"seed \d+: attempt \d+ of job .* (ran twice|was started after it had ended)"
    ):
        for seed in range(200):
            run(seed, faults=Faults(server_dies=0.01))


def _start(call, intent):
    job = store.job(call.transaction, intent.subject)
    if job is None or job.token != intent.token or job.task_arn is not None or job.instance is None:
        return None
    one = store.instance(call.transaction, job.instance)
    environment = store.environment(call.transaction, job.environment or 0)
    if one is None or environment is None or one.container_instance_arn is None:
        return None
    forgetful = replace(job, token=call.ids.uuid())
    return tasks._start(
        call, forgetful, store.body(call.transaction, job.number), environment, one, may_be_repeated=False
    )


def _take_down(call, intent, started) -> None:
    store.delete_intent(call.transaction, intent.number)
    job = store.job(call.transaction, intent.subject)
    if job is None or started is None:
        return
    if started["tasks"]:
        (task,) = started["tasks"]
        accepted = lifecycle.TaskAccepted(intent.token, task["taskArn"], task["containerInstanceArn"])
        life.apply(call, job, accepted)
    else:
        life.apply(call, job, lifecycle.Unplaced(intent.token))


def test_a_line_that_is_kept_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudWatch Logs as AWS has it: what is sent again is kept again."""
    monkeypatch.setattr(repeats.Stretch, "there", lambda self, position, count: 0)
    with pytest.raises(
        AssertionError, match=r"seed \d+: lines are lost, doubled or out of order: .*'one', 'two', 'three', 'one'"
    ):
        for seed in range(50):
            run(seed)


def test_a_line_that_is_thrown_away_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's driver: what could not be sent at a container's end is gone."""
    monkeypatch.setattr(LateLogs, "keep", lambda *_: None)
    with pytest.raises(AssertionError, match=r"seed \d+: lines are lost: "):
        for seed in range(200):
            run(seed, jobs=20)


def test_a_success_that_nothing_ran_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator's lie: the end is taken for a success whatever the container said."""
    told = lifecycle.TRANSITIONS[lifecycle.Status.RUNNING, lifecycle.TaskStopped]
    monkeypatch.setitem(
        lifecycle.TRANSITIONS,
        (lifecycle.Status.RUNNING, lifecycle.TaskStopped),
        lambda job, event, now: told(job, replace(event, exit_code=0), now),
    )
    with pytest.raises(AssertionError, match=r"seed \d+: attempt \d+ ended with"):
        for seed in range(50):
            run(seed)
