"""Checks that the model states only in prose."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from longshore.aws.errors import AwsError

# CloudWatch Logs API reference, PutLogEvents: the batch's size is the UTF-8 bytes of all messages, plus 26 for each event.
BATCH_BYTES_MAX = 1_048_576
EVENT_OVERHEAD_BYTES = 26
BATCH_SPAN_MS_MAX = 24 * 3600 * 1000
TOO_NEW_MS = 2 * 3600 * 1000
TOO_OLD_MS = 14 * 24 * 3600 * 1000
RETENTIONS_DAYS = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)  # fmt: skip


TAGS_MAX = 50
DAY_MS = 24 * 3600 * 1000


def check_group_name(name: str) -> None:
    """API reference, CreateLogGroup: names that begin with `aws/` are AWS's own."""
    if name.lower().startswith("aws/"):
        raise AwsError("InvalidParameterException", "Log groups starting with AWS/ are reserved for AWS.")


def oldest_kept_ms(now_ms: int, retention_days: int | None) -> int:
    """Events from before are gone, by the group's retention. 0: none are."""
    return now_ms - retention_days * DAY_MS if retention_days is not None else 0


def check_batch(events: Sequence[Any]) -> None:
    """InvalidParameterException: the events are out of order, span more than a day, or are too large together."""
    times = [event["timestamp"] for event in events]
    if any(later < earlier for earlier, later in pairwise(times)):
        raise AwsError(
            "InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order."
        )
    if times[-1] - times[0] > BATCH_SPAN_MS_MAX:
        raise AwsError(
            "InvalidParameterException",
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        )
    size = sum(len(event["message"].encode()) + EVENT_OVERHEAD_BYTES for event in events)
    if size > BATCH_BYTES_MAX:
        raise AwsError(
            "InvalidParameterException", f"Upload too large: {size} bytes exceeds limit of {BATCH_BYTES_MAX}"
        )


def check_retention(days: int) -> None:
    if days not in RETENTIONS_DAYS:
        allowed = ", ".join(str(each) for each in sorted(RETENTIONS_DAYS))
        raise AwsError(
            "InvalidParameterException",
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{allowed}]",
        )
