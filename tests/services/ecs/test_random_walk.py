"""A cluster under chance: agents come and go, report late or twice, instances vanish. The accounts hold after each step."""

import random
from typing import Any

import pytest

from longshore.aws.errors import AwsError
from longshore.kit.event import Event
from longshore.services.ecs import resources, store

INSTANCES = [f"i-{n:017x}" for n in range(3)]


def check(room: Any) -> None:
    here = store.Place(_reading(room), "123456789012", "us-east-1")
    for _, standing in store.instances_of_cluster(here, "demo"):
        live = [task for task, _ in store.live_tasks(here, standing.instance.id)]
        left = standing.instance.registered
        for task in live:
            left = resources.less(left, task.takes)
        occupancy = standing.occupancy
        assert (occupancy.remaining.cpu, occupancy.remaining.memory) == (left.cpu, left.memory)
        assert occupancy.remaining.memory >= 0
        assert occupancy.running == sum(task.last_status == "RUNNING" for task in live)
        assert occupancy.pending == sum(task.last_status == "PENDING" for task in live)


def _reading(room: Any) -> Any:
    found: list[Any] = []
    room.house.store.read(found.append)
    return found[0]


class Walk:
    def __init__(self, room: Any, seed: int) -> None:
        self.room = room
        self.chance = random.Random(seed)
        self.arns: dict[str, str] = {}
        self.streams: dict[str, Any] = {}
        self.tasks: list[dict[str, Any]] = []

    def step(self) -> None:
        move = self.chance.choice(
            [self.register, self.connect, self.connect, self.drop, self.run, self.run, self.run, self.report, self.report,
             self.report, self.stop, self.acknowledge, self.acknowledge, self.vanish]
        )  # fmt: skip
        move(self.chance.choice(INSTANCES))

    def register(self, name: str) -> None:
        kept = {"containerInstanceArn": self.arns[name]} if name in self.arns else {}
        self.arns[name] = self.room.register(name, **kept)["containerInstanceArn"]

    def connect(self, name: str) -> None:
        if name in self.arns:
            self.streams[name] = self.room.open(self.arns[name], name)

    def drop(self, name: str) -> None:
        if name in self.streams:
            self.streams.pop(name).inbox.put_nowait(None)
            self.room.turn()

    def run(self, name: str) -> None:
        if self.arns:
            self.tasks += self.room.call("RunTask", {"cluster": "demo", "taskDefinition": "fam", "count": 2})["tasks"]

    def report(self, name: str) -> None:
        for task in self.chance.sample(self.tasks, min(3, len(self.tasks))):
            status = self.chance.choice(["RUNNING", "STOPPED", "PENDING"])
            report = {"cluster": "demo", "task": task["taskArn"], "status": status}
            self.room.call(
                "SubmitTaskStateChange", {**report, "containers": [{"containerName": "main", "status": status}]}
            )

    def stop(self, name: str) -> None:
        if self.tasks:
            self.room.call("StopTask", {"cluster": "demo", "task": self.chance.choice(self.tasks)["taskArn"]})

    def acknowledge(self, name: str) -> None:
        if name in self.streams:
            for payload in self.streams[name].of("PayloadMessage"):
                self.streams[name].say("AckRequest", {"messageId": payload["messageId"]})
            self.room.turn()

    def vanish(self, name: str) -> None:
        if self.chance.random() < 0.7:
            return
        arn = f"arn:aws:ec2:us-east-1:123456789012:instance/{name}"
        detail = {"instance-id": name, "state": "terminated"}
        self.room.hear(
            Event(
                source="aws.ec2", detail_type="EC2 Instance State-change Notification", account="123456789012",
                region="us-east-1", time=self.room.clock.now(), resource=arn, detail=detail,
            )
        )  # fmt: skip
        self.arns.pop(name, None)
        self.streams.pop(name, None)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_the_accounts_hold(room, seed) -> None:  # type: ignore[no-untyped-def]
    room.call("CreateCluster", {"clusterName": "demo"})
    room.define(container={"memory": 600})
    walk = Walk(room, seed)
    for name in INSTANCES:
        walk.register(name)
        walk.connect(name)
    for _ in range(60):
        try:
            walk.step()
        except AwsError as error:
            assert error.message == "No Container Instances were found in your cluster."
        check(room)
    versions: dict[str, int] = {}
    for detail in room.events("ECS Task State Change"):
        assert detail["version"] > versions.get(detail["taskArn"], 0)
        versions[detail["taskArn"]] = detail["version"]
    assert len(versions) > 3  # The walk went somewhere.
