"""The real clock and the real randomness. Everything else gets them as arguments."""

from __future__ import annotations

import os
from datetime import UTC, datetime


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemEntropy:
    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)
