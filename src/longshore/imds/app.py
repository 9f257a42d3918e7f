"""The metadata service: who may read, with which token; over HTTP and, for agents inside the server, without it.

Source: EC2 user guide, "Use the Instance Metadata Service to access instance metadata" (tokens, headers, status codes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from longshore.aws.instance import InstanceView
from longshore.imds import tokens, tree
from longshore.kit.house import House

TOKEN = "x-aws-ec2-metadata-token"
TTL = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_PATH = "latest/api/token"
_KEY_BYTES = 32

Answer = tuple[int, dict[str, str], str]  # status, headers, text


class Metadata(Protocol):
    """The port `imds`, as this page needs it."""

    def resolve_by_private_ip(self, private_ip: str) -> str | None: ...

    async def answer(self, instance_id: str, method: str, path: str, headers: Mapping[str, str]) -> Answer: ...


class Responder:
    """The rules of access, over the view of one instance. Pure but for its key, its clock and its nonces."""

    def __init__(self, *, key: bytes, now: Callable[[], datetime], nonce: Callable[[], bytes]) -> None:
        self._key = key
        self._now = now
        self._nonce = nonce

    def __call__(self, view: InstanceView, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Header names in `headers` may be of any case."""
        if not view.http_endpoint:
            return _refusal(403, "Forbidden")
        given = {name.lower(): value for name, value in headers.items()}
        where = path.split("?", 1)[0].strip("/")
        if where.endswith("api/token"):
            return self._token(view, method, where, given)
        if method not in ("GET", "HEAD"):
            return _refusal(405, "Method Not Allowed")
        token = given.get(TOKEN)
        if token is None and view.http_tokens_required:
            return _refusal(401, "Unauthorized")
        if token is not None and not tokens.is_valid(self._key, view.instance_id, token, self._now()):
            return _refusal(401, "Unauthorized")
        text = tree.read(view, path)
        if text is None:
            return _refusal(404, "Not Found")
        shown = {"content-type": "text/plain"}
        if token is not None:
            shown[TTL] = str(tokens.remaining_seconds(token, self._now()))
        return 200, shown, text if method == "GET" else ""

    def _token(self, view: InstanceView, method: str, where: str, given: Mapping[str, str]) -> Answer:
        if method != "PUT":
            return _refusal(405, "Method Not Allowed")
        if where != _TOKEN_PATH:
            return _refusal(403, "Forbidden")  # Versions but `latest` have no tokens.
        if "x-forwarded-for" in given:
            return _refusal(403, "Forbidden")  # It came through an open proxy.
        asked = given.get(TTL, "")
        if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= tokens.TTL_MAX_SECONDS:
            return _refusal(400, "Bad Request")
        token = tokens.mint(self._key, view.instance_id, int(asked), self._now(), self._nonce())
        return 200, {"content-type": "text/plain", TTL: asked}, token


def responder(house: House) -> Responder:
    """One with a key of its own: tokens end with the server's life, and clients then ask for new ones."""
    return Responder(
        key=bytes.fromhex(house.ids.hex(2 * _KEY_BYTES)),
        now=house.now,
        nonce=lambda: bytes.fromhex(house.ids.hex(16)),
    )


def create_app(metadata: Metadata, resolve: Callable[[Scope], str | None] | None = None) -> ASGIApp:
    """Answers at 169.254.169.254. An instance is known by its link, never by what it says.

    `resolve(scope)` gives the instance's id; None: it is the living instance of the peer's address.
    """

    def by_address(scope: Scope) -> str | None:
        client = scope.get("client")
        return metadata.resolve_by_private_ip(client[0]) if client else None

    who = resolve or by_address

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        instance_id = who(scope)
        if instance_id is None:
            status, headers, text = _refusal(404, "Not Found")
        else:
            given: dict[str, Any] = dict(request.headers)
            status, headers, text = await metadata.answer(instance_id, request.method, request.url.path, given)
        # The hop limit of the PUT's answer is the kind of machine's matter: it owns the link.
        await Response(text, status, headers={"server": "EC2ws", **headers})(scope, receive, send)

    return app


def _refusal(status: int, words: str) -> Answer:
    """The little page that the real service shows."""
    page = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
        '\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
        f" <head>\n  <title>{status} - {words}</title>\n </head>\n <body>\n  <h1>{status} - {words}</h1>\n </body>\n</html>\n"
    )
    return status, {"content-type": "text/html"}, page
