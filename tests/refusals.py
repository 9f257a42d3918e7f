"""What a client sees of a refusal, compared whole: code, text, status."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError


@contextlib.contextmanager
def refused(code: str, message: str | None = None, *, status: int | None = None) -> Iterator[Any]:
    """The call inside must be refused with this code; `message` None: with whatever text.

    The encoded message at the end of EC2's refusals is left out: it is another each time.
    """
    with pytest.raises(ClientError) as caught:
        yield caught
    response = caught.value.response
    assert response["Error"]["Code"] == code, response["Error"]
    if message is not None:
        assert response["Error"]["Message"].partition(". Encoded authorization failure message: ")[0] == message
    if status is not None:
        assert response["ResponseMetadata"]["HTTPStatusCode"] == status


def unchecked(client: Any) -> Any:
    """The client, sending what its own checks of parameters would hold back: that the server must refuse it."""
    client._serializer = client._serializer._serializer
    return client
