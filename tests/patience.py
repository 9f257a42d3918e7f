"""How long tests wait for real processes. On a machine that is slow by its nature, as an emulated one, they wait longer."""

from __future__ import annotations

import os

_TIMES = float(os.environ.get("LONGSHORE_TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    """Instead of as many seconds on a machine like others."""
    return seconds * _TIMES
