from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from people import Person

if TYPE_CHECKING:
    from in_process import InProcessHouse


@pytest.fixture
def person(house: InProcessHouse) -> Callable[..., Person]:
    """`person("anna")`: a user with a key, `.client("iam")` acting as that user."""
    return lambda name, **more: Person(house, name, **more)


@pytest.fixture
def client_of(house: InProcessHouse) -> Callable[..., Any]:
    """A client that acts with the credentials of an answer of STS."""

    def make(answer: dict[str, Any], service: str) -> Any:
        given = answer["Credentials"]
        return house.client(service, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    return make
