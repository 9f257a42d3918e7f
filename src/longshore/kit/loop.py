"""Loops make true what handlers have written down."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from longshore.kit.house import House


class Loop(Protocol):
    """One per account and region is not needed: a loop serves all of them.

    A turn may end anywhere (the machine dies): what it finds at its next start must be enough to go on. It writes through
    `house.turn(...)`, so that each transaction is one step that a crash cannot halve.
    """

    name: str  # "batch.scheduler"; `call.wake(name)` wakes it

    async def tick(self, house: House, now: datetime) -> datetime | None:
        """Does what is due. When it must next be woken at the latest; None: only when something happens."""
        ...
