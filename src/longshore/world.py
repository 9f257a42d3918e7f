"""The real clock and the real randomness. Everything else gets them as arguments."""

from __future__ import annotations

import os
from datetime import UTC, datetime


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemEntropy:
    """The kernel's randomness, drawn in portions: a system call for each identifier costs more than the identifier."""

    _PORTION = 4096

    def __init__(self) -> None:
        self._portion = b""
        self._used = 0

    def random_bytes(self, count: int) -> bytes:
        """Bytes that were never given before. A process that forks must make a new one of these."""
        start = self._used
        if start + count > len(self._portion):
            if count > self._PORTION:
                return os.urandom(count)
            self._portion, start = os.urandom(self._PORTION), 0
        self._used = start + count
        return self._portion[start : self._used]
