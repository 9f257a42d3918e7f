"""The bytes that are sent: what an unmodified botocore client would send, taken at its door and kept."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse


class Taken(Exception):
    """The request was taken; nothing was sent."""


def prepared(client: Any, operation: str, parameters: list[dict[str, Any]]) -> list[str]:
    """One signed request for each set of parameters, base64, head and body. A signature is good for five minutes."""
    taken: list[str] = []

    def take(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        taken.append(base64.b64encode(_bytes(request)).decode())
        raise Taken

    client.meta.events.register_first("before-send.*.*", take)
    try:
        for each in parameters:
            try:
                getattr(client, operation)(**each)
            except Taken:
                continue
    finally:
        client.meta.events.unregister("before-send.*.*", take)
    return taken


def _bytes(request: AWSPreparedRequest) -> bytes:
    parts = urlsplit(request.url)
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else bytes(body)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers["host"] = parts.netloc
    lines = [f"{request.method} {target} HTTP/1.1"]
    lines += [f"{name}: {value.decode() if isinstance(value, bytes) else value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
