from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from in_process import InProcessHouse


@pytest.fixture
def house() -> Iterator[InProcessHouse]:
    """A house on virtual time: `house.client("iam")`, `house.settle(lambda: ...)`."""
    from in_process import InProcessHouse

    made = InProcessHouse()
    yield made
    made.close()
