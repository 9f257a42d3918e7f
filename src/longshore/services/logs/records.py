"""What is kept of groups and streams."""

from __future__ import annotations

from msgspec import Struct


class LogGroup(Struct, frozen=True, kw_only=True):
    key: int = 0  # the row's
    name: str
    created_at_ms: int
    retention_days: int | None = None  # None: kept for ever
    tags: dict[str, str] = {}
    log_group_class: str = "STANDARD"
    is_protected: bool = False  # deletionProtectionEnabled
    kms_key_id: str | None = None  # as it was named; what is kept is not sealed with it


class LogStream(Struct, frozen=True, kw_only=True):
    key: int = 0
    name: str
    created_at_ms: int
    first_event_ms: int | None = None  # None: nothing was written yet
    last_event_ms: int | None = None
    last_ingestion_ms: int | None = None
    next_sequence: int = 0  # of the stream's events, counted
    bytes_written: int = 0
    positions: dict[str, int] = {}  # writer -> bytes of its output that are here: repeats.py
