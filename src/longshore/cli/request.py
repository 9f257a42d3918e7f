"""One signed request of the command line itself, for what the `aws` command has no word for."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from longshore.aws import sigv4
from longshore.world import SystemClock


class Refused(Exception):
    """The server answered with an error, or not at all."""


def signed_get(url: str, service: str, region: str, keys: tuple[str, str]) -> dict[str, Any]:
    """What the server answers, decoded. Refused: what it said instead."""
    headers = sigv4.sign("GET", url, {}, b"", service, region, keys[0], keys[1], None, SystemClock().now())
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        try:
            text = json.load(error).get("message", str(error))
        except ValueError:
            text = str(error)
        raise Refused(text) from error
    except OSError as error:
        raise Refused(f"no server answers at {url}: {error}") from error
