"""Keeps the loops turning: a turn when woken, or when the loop itself asked for one."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from longshore.kit.house import House
from longshore.kit.loop import Loop

log = structlog.get_logger("longshore.loops")

_AFTER_FAILURE_SECONDS = 1.0
# A loop waits by monotonic time for a moment of the wall clock, which may be set meanwhile: it looks again after so long.
_LOOK_AGAIN_SECONDS = 60.0


async def run(house: House, loop: Loop) -> None:
    """Runs until cancelled. A turn that fails is logged, and the next one is taken a second later."""
    news = asyncio.Event()
    house.wakers[loop.name] = news.set
    while True:
        news.clear()
        now = house.clock.now()
        try:
            wake_at = await loop.tick(house, now)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("loop failed", loop=loop.name)
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            continue
        if wake_at is None:
            await news.wait()
            continue
        delay = (wake_at - house.clock.now()).total_seconds()
        if delay > 0:
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: on Python 3.11 it loses a cancellation that meets the event.
                async with asyncio.timeout(min(delay, _LOOK_AGAIN_SECONDS)):
                    await news.wait()
        else:
            await asyncio.sleep(0)
