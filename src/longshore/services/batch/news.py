"""What the scheduler has not taken in yet. Marked after a commit; what it marks is read again before the next decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.services.batch.scheduling.snapshot import Head

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.house import House

SCHEDULER = "batch.scheduler"
EFFECTS = "batch.effects"
_PORT = "batch.news"


class News:
    """`queues` and `environments` hold the numbers of those that have changed.

    `instances`: number of an environment -> numbers of its instances, where no more than these has changed.
    `arrived`: number of a queue -> (position, job) of those that have come to wait in it.
    """

    def __init__(self) -> None:
        self.queues: set[int] = set()
        self.environments: set[int] = set()
        self.instances: dict[int, set[int]] = {}
        self.arrived: dict[int, list[tuple[int, Head]]] = {}

    def take(self) -> News:
        """What was marked until now, taken off."""
        taken = News()
        taken.queues, self.queues = self.queues, set()
        taken.environments, self.environments = self.environments, set()
        taken.instances, self.instances = self.instances, {}
        taken.arrived, self.arrived = self.arrived, {}
        return taken

    def put_back(self, taken: News) -> None:
        self.queues |= taken.queues
        self.environments |= taken.environments
        for environment, instances in taken.instances.items():
            self.instances.setdefault(environment, set()).update(instances)
        for queue, arrivals in taken.arrived.items():
            self.arrived[queue] = arrivals + self.arrived.get(queue, [])

    def __bool__(self) -> bool:
        return bool(self.queues or self.environments or self.instances or self.arrived)


def of(house: House) -> News:
    news = house.ports.get(_PORT)
    if news is None:
        news = house.ports[_PORT] = News()
    assert isinstance(news, News)
    return news


def queue_changed(call: Call, number: int) -> None:
    """A queue, or which of its jobs come first, has changed: the scheduler is to look."""

    def tell() -> None:
        of(call.house).queues.add(number)
        call.house.wake(SCHEDULER)

    call.after_commit(tell)


def job_arrived(call: Call, queue: int, position: int, head: Head) -> None:
    """A job has come to wait in the queue. Far behind, it is nothing that the scheduler has to look at."""

    def tell() -> None:
        of(call.house).arrived.setdefault(queue, []).append((position, head))
        call.house.wake(SCHEDULER)

    call.after_commit(tell)


def environment_changed(call: Call, number: int) -> None:
    """A compute environment, or which instances it has, has changed: the scheduler is to look."""

    def tell() -> None:
        of(call.house).environments.add(number)
        call.house.wake(SCHEDULER)

    call.after_commit(tell)


def instance_changed(call: Call, environment: int, number: int) -> None:
    """One instance, or what it holds, has changed: the scheduler is to look."""

    def tell() -> None:
        of(call.house).instances.setdefault(environment, set()).add(number)
        call.house.wake(SCHEDULER)

    call.after_commit(tell)
