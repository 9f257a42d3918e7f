"""A request and an answer, as far as AWS's protocols look at them."""

from __future__ import annotations

from msgspec import Struct


class HttpRequest(Struct, frozen=True):
    """`path` and `query_string` are as sent, percent-encoding and all: signatures are made over them.

    `headers`: name in lower case -> value; values of a repeated header are joined by commas.
    """

    method: str
    path: str
    query_string: str = ""  # without the question mark
    headers: dict[str, str] = {}
    body: bytes = b""
    source_ip: str = "127.0.0.1"


class HttpResponse(Struct, frozen=True):
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
