"""Pages of the Describe and List operations: their sizes, and tokens that hold for one query only."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from longshore.services.batch.rules import client_exception

_NOT_OF_THE_QUERY = frozenset({"nextToken", "maxResults"})


def size(request: Mapping[str, Any], most: int) -> int:
    """How many a page holds. API reference, maxResults: 1 to `most`, which is also what holds without it."""
    asked = request.get("maxResults")
    if asked is None:
        return most
    if not 1 <= asked <= most:
        raise client_exception(f"maxResults must be between 1 and {most}, got {asked}.")  # our words
    return int(asked)


def token(request: Mapping[str, Any], position: str) -> str:
    return base64.urlsafe_b64encode(f"{_digest(request)}{position}".encode()).decode()


def position(request: Mapping[str, Any]) -> str | None:
    """Where the page begins. None: at the beginning. ClientException: no token of ours, or of another query."""
    given = request.get("nextToken")
    if not given:
        return None
    try:
        text = base64.b64decode(given.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        text = ""
    digest = _digest(request)
    if not text.startswith(digest):
        raise invalid_token()
    return text[len(digest) :]


def number(request: Mapping[str, Any]) -> int | None:
    """As `position`, where positions are numbers."""
    text = position(request)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise invalid_token() from None


def invalid_token() -> Exception:
    return client_exception("The nextToken is invalid.")  # our words


def _digest(request: Mapping[str, Any]) -> str:
    """16 characters that tell one query from another."""
    query = sorted((key, value) for key, value in request.items() if key not in _NOT_OF_THE_QUERY and value is not None)
    return hashlib.blake2b(msgspec.json.encode(query), digest_size=8).hexdigest()
