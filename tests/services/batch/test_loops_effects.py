"""What the loops do twice, late, or after a death of the server: an effect under its token, an event heard again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from batch_house import BatchHouse
from in_process import InProcessHouse
from longshore.kit.call import Call
from longshore.services.batch import instances, news, snapshots, store, tasks
from longshore.services.batch.effects import Effects
from longshore.services.batch.loops import Scheduler
from longshore.services.batch.records import Intent
from longshore.services.batch.troubles import Later
from longshore.store import outbox


@pytest.fixture
def batch(house: InProcessHouse) -> Iterator[BatchHouse]:
    """With an instance that has joined."""
    made = BatchHouse(house).chain(minvCpus=2)
    made.house.settle(lambda: made.ecs.list_container_instances(cluster=cluster(made))["containerInstanceArns"])
    made.house.pass_time(1)
    yield made
    made.assert_memory_is_the_store()


def cluster(batch: BatchHouse) -> str:
    return str(batch.described()["ecsClusterArn"])


class Pause:
    """Effects wait while it lasts, and a start is one of them, as it is where ECS could not answer."""

    def __init__(self, batch: BatchHouse, monkeypatch: pytest.MonkeyPatch) -> None:
        self._batch = batch
        self._carries_on = Effects.tick
        self._starts = tasks.start_at_once
        self._patch = monkeypatch

        async def wait(effects: Effects, house: Any, now: datetime) -> None:
            return None

        monkeypatch.setattr(Effects, "tick", wait)
        monkeypatch.setattr(tasks, "start_at_once", lambda *_: Later(0))

    def intent(self, kind: str) -> Intent:
        """The one intent of a kind, as soon as there is one."""

        def there() -> list[Intent]:
            due = self._batch.read(lambda call: store.due_intents(call.transaction, 1 << 60, 100))
            return [each for each in due if each.kind == kind]

        (found,) = self._batch.house.settle(there)
        assert isinstance(found, Intent)
        return found

    def turn_of(self, effects: Effects) -> None:
        """A turn of another loop: to it, all intents are of a former life."""
        house = self._batch.house
        house.loop.run_until_complete(self._carries_on(effects, house.house, house.clock.now()))

    def end(self) -> None:
        self._patch.setattr(Effects, "tick", self._carries_on)
        self._patch.setattr(tasks, "start_at_once", self._starts)
        self._batch.house.house.wake(news.EFFECTS)


def write(batch: BatchHouse, function: Any) -> Any:
    return batch.house.loop.run_until_complete(batch.house.house.turn("batch").write(function))


def start_by_hand(batch: BatchHouse, intent: Intent) -> str:
    """The task of an intent, as a server would have started it that died before it knew."""
    (container_instance,) = batch.ecs.list_container_instances(cluster=cluster(batch))["containerInstanceArns"]
    definition = batch.ecs.register_task_definition(
        family="by-hand", networkMode="host",
        containerDefinitions=[{"name": "default", "image": "busybox", "memory": 64, "environment": [
            {"name": "LONGSHORE_RUN_SECONDS", "value": "5"}, {"name": "LONGSHORE_EXIT_CODE", "value": "0"},
        ]}],
    )["taskDefinition"]["taskDefinitionArn"]  # fmt: skip
    answer = batch.ecs.start_task(
        cluster=cluster(batch),
        containerInstances=[container_instance],
        taskDefinition=definition,
        startedBy=intent.token,
    )
    return str(answer["tasks"][0]["taskArn"])


def test_a_start_that_was_tried_before_looks_for_its_task_first(
    batch: BatchHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(batch, monkeypatch)
    job_id = batch.submit()
    intent = pause.intent("start")
    task_arn = start_by_hand(batch, intent)
    write(batch, lambda call: store.postpone_intent(call.transaction, replace(intent, tries=1), 0))
    pause.end()
    ended = batch.ended(job_id)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 1)
    assert ended["container"]["taskArn"] == task_arn
    assert tasks_of(batch, intent.token) == [task_arn]


def test_the_first_turn_after_a_start_of_the_server_looks_as_well(
    batch: BatchHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(batch, monkeypatch)
    job_id = batch.submit()
    intent = pause.intent("start")
    task_arn = start_by_hand(batch, intent)
    write(batch, lambda call: store.postpone_intent(call.transaction, replace(intent, tries=0), 0))
    pause.turn_of(Effects())
    pause.end()
    assert batch.ended(job_id)["container"]["taskArn"] == task_arn
    assert tasks_of(batch, intent.token) == [task_arn]


def tasks_of(batch: BatchHouse, token: str) -> list[str]:
    return [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in batch.ecs.list_tasks(cluster=cluster(batch), startedBy=token, desiredStatus=status)["taskArns"]
    ]


def test_a_task_that_is_heard_of_before_its_start_is_known_belongs_to_its_job(
    batch: BatchHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(batch, monkeypatch)
    job_id = batch.submit()
    task_arn = start_by_hand(batch, pause.intent("start"))
    assert batch.ended(job_id)["container"]["taskArn"] == task_arn
    pause.end()
    batch.house.pass_time(5)
    assert batch.read(lambda call: store.next_due(call.transaction)) is None


def test_a_job_that_is_terminated_before_its_task_starts_never_runs(
    batch: BatchHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(batch, monkeypatch)
    job_id = batch.submit()
    token = pause.intent("start").token
    batch.batch.terminate_job(jobId=job_id, reason="enough")
    assert batch.ended(job_id)["statusReason"] == "enough"
    pause.end()
    batch.house.pass_time(5)
    assert tasks_of(batch, token) == []


def test_a_launch_that_is_done_twice_launches_once(batch: BatchHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = Pause(batch, monkeypatch)
    for _ in range(3):
        batch.submit(script={"RUN_SECONDS": "100"})
    intent = pause.intent("launch")
    one = batch.read(lambda call: store.instance(call.transaction, intent.subject))

    def launch(call: Call) -> None:
        """The server dies after it: EC2 has the instance, and nobody has written so."""
        instances.launch(call, intent)
        store.save_instance(call.transaction, one)

    write(batch, launch)
    before = {each["InstanceId"] for each in batch.instances()}
    pause.end()
    batch.house.pass_time(5)
    assert {each["InstanceId"] for each in batch.instances()} == before
    assert len(before) == 2


def test_events_that_are_heard_again_change_nothing(batch: BatchHouse) -> None:
    first = batch.submit(script={"EXIT_CODE": "1,0"}, retryStrategy={"attempts": 2})
    second = batch.submit(script={"RUN_SECONDS": "100"})
    batch.ended(first)
    batch.until(second, "RUNNING")
    before = [batch.record(first), batch.record(second)]
    there = batch.read(
        lambda call: [
            store.instances_of(call.transaction, each.number) for each in store.all_environments(call.transaction)
        ]
    )
    write(batch, lambda call: outbox.advance(call.transaction, "batch", 0))
    batch.house.house.wake("events")
    batch.house.pass_time(2)
    assert [batch.record(first), batch.record(second)] == before
    again = batch.read(
        lambda call: [
            store.instances_of(call.transaction, each.number) for each in store.all_environments(call.transaction)
        ]
    )
    assert again == there
    assert batch.house.store.read(lambda transaction: outbox.is_parked(transaction, "batch", "")) is False


def test_an_effect_that_fails_is_tried_again_later_and_later(
    batch: BatchHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def fail(*_: Any, **__: Any) -> None:
        tried.append(batch.house.loop.time())
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "_begin", fail)
        job_id = batch.submit()
        batch.house.pass_time(20)
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert 4 <= len(tried) <= 7
    assert gaps == sorted(gaps)
    assert batch.ended(job_id)["status"] == "SUCCEEDED"


def test_a_rebuilt_memory_is_the_kept_one(batch: BatchHouse) -> None:
    for _ in range(30):
        batch.submit(script={"RUN_SECONDS": "7", "EXIT_CODE": "1,0"}, retryStrategy={"attempts": 2})
    for _ in range(20):
        batch.house.pass_time(1.3)
        batch.assert_memory_is_the_store()
    kept = snapshots.of(batch.house.house)
    assert kept.snapshot() == batch.read(snapshots.build)


def test_a_new_scheduler_goes_on_where_the_former_one_stood(batch: BatchHouse) -> None:
    """It knows who was told why he stands, and tells him no more once he stands no longer at the head."""
    large = [{"type": "MEMORY", "value": "99999999"}]
    job_id = batch.submit(containerOverrides={"resourceRequirements": large})
    batch.reason(job_id, "MISCONFIGURATION")
    fresh = Scheduler()
    house = batch.house
    house.loop.run_until_complete(fresh.tick(house.house, house.clock.now()))
    assert fresh._told == {batch.record(job_id).queue: (batch.record(job_id).number, batch.job(job_id)["statusReason"])}
