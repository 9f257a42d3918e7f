"""`application/x-www-form-urlencoded`: bodies of the query protocols, and query strings."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from longshore.aws.wire.http import HttpRequest


class UnreadableForm(ValueError):
    """What was sent is no form: bad percent-encoding or no UTF-8."""


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Names and values, decoded, in the order sent. UnreadableForm: they are no UTF-8."""
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield _decoded(name), _decoded(value)


def parameters(request: HttpRequest) -> dict[str, str]:
    """All parameters of a query-protocol request: of the query string and of a form body. The body's win."""
    found = dict(pairs(request.query_string)) if request.query_string else {}
    if request.body:
        try:
            text = request.body.decode("ascii")
        except UnicodeDecodeError:
            try:
                text = request.body.decode("utf-8")  # Unencoded letters are not well-formed, but harmless.
            except UnicodeDecodeError:
                raise UnreadableForm("The request body is not valid UTF-8") from None
        found.update(pairs(text))
    return found


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise UnreadableForm("The request contains percent-encoded bytes that are not valid UTF-8") from None
