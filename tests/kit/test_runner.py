"""Loops wait for moments of the wall clock, which may be set while they wait."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from longshore.kit import runner
from virtual_time import START, VirtualClock, VirtualLoop


class Bell:
    """Rings once, at noon."""

    name = "bell"
    noon = START + timedelta(hours=12)

    def __init__(self) -> None:
        self.rung_at: datetime | None = None

    async def tick(self, house: Any, now: datetime) -> datetime | None:
        if self.rung_at is None and now < self.noon:
            return self.noon
        self.rung_at = self.rung_at or now
        return None


class SetClock(VirtualClock):
    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.mark.parametrize("hours", [-3, 0, 3, 20])
def test_a_clock_that_is_set_is_noticed_within_a_minute(hours: int) -> None:
    loop = VirtualLoop()
    clock, bell = SetClock(loop), Bell()

    house: Any = SimpleNamespace(clock=clock, wakers={})

    async def a_day() -> None:
        running = asyncio.create_task(runner.run(house, bell))
        await asyncio.sleep(3600)
        clock.ahead = timedelta(hours=hours)
        await asyncio.sleep(24 * 3600)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    loop.run_until_complete(a_day())
    loop.close()
    due = max(bell.noon, START + timedelta(hours=1 + hours))
    assert bell.rung_at is not None
    assert due <= bell.rung_at <= due + timedelta(minutes=1)
