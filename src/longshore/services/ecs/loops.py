"""What time does: streams that a former life of the server had are over, and what ended long ago is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.services.ecs import changes, store, streams
from longshore.services.ecs.references import place

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.house import House

# API reference, Task, and developer guide, "Viewing stopped task errors": stopped tasks appear for at least one hour.
_STOPPED_KEPT = timedelta(hours=1)
# API reference, RunTask, "Ensuring idempotency": a client token holds for up to 24 hours.
_TOKENS_KEPT = timedelta(hours=24)
_EVERY = timedelta(minutes=5)


class Housekeeping:
    """`ecs.housekeeping`."""

    name = "ecs.housekeeping"

    def __init__(self) -> None:
        self._has_started = False

    async def tick(self, house: House, now: datetime) -> datetime | None:
        if not self._has_started:
            await mark_disconnected(house)
            self._has_started = True
        await house.turn("ecs").write(
            lambda call: store.forget(
                call.transaction, stopped_before=now - _STOPPED_KEPT, tokens_before=now - _TOKENS_KEPT
            )
        )
        return now + _EVERY


async def mark_disconnected(house: House) -> None:
    """Agents that are said to be connected and have no stream in this life of the server."""
    for account, region, instance_id in house.store.read(store.all_connected):
        turn = house.turn("ecs", account=account, region=region)
        await turn.write(_marking(house, instance_id))


def _marking(house: House, instance_id: str) -> Callable[[Call], None]:
    def mark(call: Call) -> None:
        standing = store.find_instance(place(call), instance_id)
        if standing is None or not standing.agent_connected or standing.instance.arn in streams.registry(house):
            return
        changes.change_instance(call, replace(standing, agent_connected=False, connectivity_at=call.now))

    return mark
