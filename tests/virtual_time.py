"""An event loop on a false clock: when nothing is ready, time jumps to what is due next.

The production code runs on it unchanged, in one thread and in one order, so that a run can be repeated exactly.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)


class NothingLeftToWaitFor(Exception):
    """The loop would wait for ever: what is awaited cannot happen any more."""


class _Selector(selectors.SelectSelector):
    """Waits by moving the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingLeftToWaitFor
        if timeout > 0:
            self.elapsed += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`loop.time()` begins at 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-6  # Sums of floats must not leave a timer a hair in the future for ever.

    def time(self) -> float:
        return self._virtual.elapsed


class VirtualClock:
    """The loop's time as a date."""

    def __init__(self, loop: VirtualLoop, start: datetime = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())


def run(loop: VirtualLoop, awaitable: Awaitable[T]) -> T:
    async def waited() -> T:
        return await awaitable

    return loop.run_until_complete(waited())
