"""What the scheduler has not taken in yet. Marked after a commit; what it marks is read again before the next decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.house import House

SCHEDULER = "batch.scheduler"
EFFECTS = "batch.effects"
_PORT = "batch.news"


class News:
    """`queues` and `environments` hold the numbers of those that have changed."""

    def __init__(self) -> None:
        self.queues: set[int] = set()
        self.environments: set[int] = set()


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


def environment_changed(call: Call, number: int) -> None:
    """A compute environment, its instances or what they hold has changed: the scheduler is to look."""

    def tell() -> None:
        of(call.house).environments.add(number)
        call.house.wake(SCHEDULER)

    call.after_commit(tell)
