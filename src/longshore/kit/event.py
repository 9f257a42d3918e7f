"""What has happened, in EventBridge's shape. Rooms hear each other's events as customers could."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True):
    """`resource` orders: the events of one resource reach a subscriber one after another.

    `sequence` is the event's place in the outbox; 0 until it is stored.
    """

    source: str  # "aws.ecs"
    detail_type: str  # "ECS Task State Change"
    account: str
    region: str
    time: datetime
    resource: str  # an ARN
    detail: dict[str, Any]
    sequence: int = 0
