"""The door: HTTP/1.1 from a socket to the gateway and back.

uvicorn accepts the connections, ends them and speaks WebSocket. A request does not go through its ASGI, whose scope, event
and task, messages checked by regular expressions and two writes to the socket cost more than all of a read's own work
(docs/performance.md); here it is one object, one call and one write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any, Protocol, cast
from uuid import uuid4

import httptools
import structlog
import uvicorn

from longshore.aws.errors import AwsError
from longshore.aws.model import ServiceModel, model
from longshore.aws.wire.codec import serialize_error
from longshore.aws.wire.http import HttpRequest, HttpResponse
from longshore.aws.wire.route import Unroutable, route

BODY_BYTES_MAX = 16 * 1024 * 1024
HEAD_BYTES_MAX = 64 * 1024
_WAITING_MAX = 8  # requests sent ahead of their turn; beyond them the connection is not read
_IDLE_SECONDS_MAX = 75.0
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}

log = structlog.get_logger("longshore.gateway")


class Answers(Protocol):
    """The gateway, as the door sees it."""

    async def answer(self, request: HttpRequest, endpoint: str) -> HttpResponse: ...


class _Refused(Exception):
    """The request is not taken in; the connection ends with this answer."""

    def __init__(self, response: HttpResponse) -> None:
        self.response = response


def _no_request(status: int, text: str) -> _Refused:
    """What was said is not for AWS's services to answer: it is no request at all."""
    return _Refused(HttpResponse(status, [("content-type", "text/plain")], f"{text}\n".encode()))


def too_large(request: HttpRequest, request_id: str) -> HttpResponse:
    """The answer to a request whose body is not taken in, in the form of the service that it is for.

    Which one that is must be told by the signature's scope, the target header or the path. The model has no error for it; the
    names are those by which AWS's endpoints in front of its services refuse (API Gateway; the query services without suffix).
    """
    service: ServiceModel | None
    try:
        service = model(route(request).service)
    except Unroutable as error:
        service = error.service
    is_query = service is not None and service.protocol in ("query", "ec2")
    code = "RequestEntityTooLarge" if is_query else "RequestEntityTooLargeException"
    text = f"The request body must not exceed {BODY_BYTES_MAX} bytes."
    return serialize_error(service, None, AwsError(code, text, status=413), request_id)


class Door(asyncio.Protocol):
    """One connection. Requests are answered one after another, in the order in which they came.

    Made by uvicorn (`Config(http=Door)`), whose set of connections and tasks it keeps up to date: they are what a
    graceful end waits for.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._gateway: Answers = config.app  # type: ignore[assignment]
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._scheme = "http"
        self._own_address = ""
        self._source_ip = ""
        self._waiting: deque[tuple[HttpRequest | HttpResponse, bool]] = deque()  # with: may the connection live on?
        self._is_busy = False
        self._is_ending = False  # nothing more is taken in
        self._is_full = False  # the client does not read what it is sent
        self._heard_at = 0.0
        self._sweep: asyncio.TimerHandle | None = None

    # -- of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are transports by their methods alone.
        self._state.connections.add(self)
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        host, port = (transport.get_extra_info("sockname") or ("127.0.0.1", 0))[:2]
        self._own_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._source_ip = (transport.get_extra_info("peername") or ("",))[0]
        self._heard_at = self._loop.time()
        self._sweep = self._loop.call_later(_IDLE_SECONDS_MAX, self._end_if_idle)

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(self)
        self._is_ending = True
        self._waiting.clear()
        if self._sweep is not None:
            self._sweep.cancel()

    def _end_if_idle(self) -> None:
        """One timer a connection, set anew when it rings: cheaper than one a request."""
        quiet = self._loop.time() - self._heard_at
        if quiet >= _IDLE_SECONDS_MAX and not self._is_busy:
            # What a client does not read would hold up a gentle end for ever.
            self._transport.abort() if self._is_full else self._transport.close()
            return
        rest = _IDLE_SECONDS_MAX - quiet if quiet < _IDLE_SECONDS_MAX else _IDLE_SECONDS_MAX
        self._sweep = self._loop.call_later(rest, self._end_if_idle)

    def shutdown(self) -> None:
        """uvicorn ends: what is under way is still answered."""
        self._is_ending = True
        if not self._is_busy:
            self._transport.close()

    def pause_writing(self) -> None:
        self._is_full = True
        self._read_or_not()

    def resume_writing(self) -> None:
        self._is_full = False
        self._read_or_not()
        self._go_on()

    def _read_or_not(self) -> None:
        if self._transport.is_closing():
            return
        if self._is_full or len(self._waiting) > _WAITING_MAX:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # -- reading: called by the parser, piece by piece

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        self._heard_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._wants_websocket():
                self._become_websocket(data[upgrade.args[0] :])
            else:
                self._is_ending = True  # The request is answered; what follows it is not HTTP.
        except httptools.HttpParserError as error:
            refused = error.__context__
            if not isinstance(refused, _Refused):
                refused = _no_request(400, "invalid HTTP request")
            self._is_ending = True
            self._take(refused.response, lives_on=False)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._is_head_read = False
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow_head(len(name) + len(value))
        if self._is_head_read:
            return  # A trailer: nothing that is said after the body counts.
        key, text = name.lower().decode("latin-1"), value.decode("latin-1")
        headers = self._headers
        headers[key] = f"{headers[key]},{text}" if key in headers else text

    def _grow_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > HEAD_BYTES_MAX:
            raise _no_request(431, "request header fields too large")

    def on_headers_complete(self) -> None:
        self._is_head_read = True
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > BODY_BYTES_MAX:
            raise self._too_large()
        if self._headers.get("expect", "").lower() == "100-continue" and not self._is_busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            raise self._too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        is_upgrade = self._parser.should_upgrade()
        if is_upgrade and self._wants_websocket():
            return
        body = self._body
        request = self._request(body[0] if len(body) == 1 else b"".join(body))
        # An upgrade to what is not spoken here is passed over, but nothing can follow it.
        self._take(request, lives_on=self._parser.should_keep_alive() and not is_upgrade)

    def _request(self, body: bytes) -> HttpRequest:
        path, _, query = self._target()
        return HttpRequest(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query_string=query,
            headers=self._headers,
            body=body,
            source_ip=self._source_ip,
        )

    def _too_large(self) -> _Refused:
        return _Refused(too_large(self._request(b""), str(uuid4())))

    def _target(self) -> tuple[str, str, str]:
        url = self._url
        if not url.startswith(b"/") or b"#" in url:
            try:
                parts = httptools.parse_url(url)
            except httptools.HttpParserInvalidURLError:
                raise _no_request(400, "invalid request target") from None
            return (parts.path or b"/").decode("latin-1"), "?", (parts.query or b"").decode("latin-1")
        return url.decode("latin-1").partition("?")

    # -- answering

    def _take(self, item: HttpRequest | HttpResponse, *, lives_on: bool) -> None:
        if self._is_busy or self._is_full:
            self._waiting.append((item, lives_on))
            self._read_or_not()
        elif isinstance(item, HttpResponse):
            self._write(item, lives_on=lives_on, with_body=True)
        else:
            self._begin(item, lives_on)

    def _begin(self, request: HttpRequest, lives_on: bool) -> None:
        self._is_busy = True
        task = self._loop.create_task(self._answer(request, lives_on))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _answer(self, request: HttpRequest, lives_on: bool) -> None:
        try:
            endpoint = f"{self._scheme}://{request.headers.get('host') or self._own_address}"
            response = await self._gateway.answer(request, endpoint)
            self._write(response, lives_on=lives_on, with_body=request.method != "HEAD")
        except BaseException:
            # The gateway never raises; this is the process's end, or a fault of ours. Half an answer is worse than none.
            self._transport.abort()
            raise
        finally:
            self._is_busy = False
        self._go_on()

    def _go_on(self) -> None:
        """Takes what has waited for its turn, unless the client first has to read what it was sent."""
        if self._waiting and not self._is_busy and not self._is_full and not self._transport.is_closing():
            item, lives_on = self._waiting.popleft()
            self._read_or_not()
            self._take(item, lives_on=lives_on)

    def _write(self, response: HttpResponse, *, lives_on: bool, with_body: bool) -> None:
        if self._transport.is_closing():
            return
        lives_on = lives_on and (not self._is_ending or bool(self._waiting))
        headers = response.headers
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
            raise ValueError(f"a header with a line break: {headers!r}")
        end = "\r\n" if lives_on else "connection: close\r\n\r\n"
        head = f"{_STATUS_LINES[response.status]}{lines}content-length: {len(response.body)}\r\n{end}"
        self._transport.write(head.encode("latin-1", "replace") + (response.body if with_body else b""))
        if not lives_on:
            self._transport.close()

    # -- becoming a WebSocket

    def _wants_websocket(self) -> bool:
        return self._headers.get("upgrade", "").lower() == "websocket"

    def _become_websocket(self, rest: bytes) -> None:
        """Hands the connection to uvicorn, which is told the handshake again."""
        made: Any = self._config.ws_protocol_class
        if made is None or self._is_busy:
            self._is_ending = True
            self._take(_no_request(400, "no WebSocket here").response, lives_on=False)
            return
        if self._sweep is not None:
            self._sweep.cancel()
        self._state.connections.discard(self)
        lines = [f"{name}: {value}\r\n" for name, value in self._headers.items()]
        head = f"{self._parser.get_method().decode('latin-1')} {self._url.decode('latin-1')} HTTP/1.1\r\n"
        protocol = made(config=self._config, server_state=self._state, app_state=self._app_state)
        protocol.connection_made(self._transport)
        protocol.data_received(f"{head}{''.join(lines)}\r\n".encode("latin-1") + rest)
        self._transport.set_protocol(protocol)
