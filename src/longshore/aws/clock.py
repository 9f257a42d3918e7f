"""Time as an argument: who needs the hour asks a `Clock`, and a simulation hands in its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, UTC."""
        ...


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds, as Batch and CloudWatch Logs write times."""
    return (moment - EPOCH) // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    return EPOCH + timedelta(milliseconds=value)
