from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from people import Person

if TYPE_CHECKING:
    from in_process import InProcessHouse


@pytest.fixture
def person(house: InProcessHouse) -> Callable[..., Person]:
    """`person("anna")`: a user with a key, `.client("iam")` acting as that user."""
    return lambda name, **more: Person(house, name, **more)
