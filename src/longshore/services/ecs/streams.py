"""Who of the agents is connected now: in memory, on the house, gone with the server.

`house.ports["ecs.streams"]`: container instance ARN -> the newest stream of its agent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from longshore.kit.house import House

PORT = "ecs.streams"


class Notifier:
    """Tells a stream that there is something to see in the store; or that a newer stream has taken its place."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.replaced = False
        self.doubted = (
            True  # Whether its agent may still have it: between the handshake and now a policy may have changed.
        )


def registry(house: House) -> dict[str, Notifier]:
    return cast("dict[str, Notifier]", house.ports.setdefault(PORT, {}))


def register(house: House, container_instance_arn: str) -> Notifier:
    """A stream of this agent begins; an older one is told to end."""
    known = registry(house)
    older = known.get(container_instance_arn)
    if older is not None:
        older.replaced = True
        older.news.set()
    notifier = known[container_instance_arn] = Notifier()
    return notifier


def unregister(house: House, container_instance_arn: str, notifier: Notifier) -> bool:
    """Whether it was the newest: then the agent has no stream any more."""
    known = registry(house)
    if known.get(container_instance_arn) is not notifier:
        return False
    del known[container_instance_arn]
    return True


def wake(house: House, container_instance_arn: str) -> None:
    notifier = registry(house).get(container_instance_arn)
    if notifier is not None:
        notifier.news.set()


def doubt(house: House, account: str) -> None:
    """What somebody of the account may do has changed: its streams ask again whether they are allowed."""
    for arn, notifier in registry(house).items():
        if arn.split(":")[4] == account:
            notifier.doubted = True
            notifier.news.set()
