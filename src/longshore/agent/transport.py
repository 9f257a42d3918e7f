"""The agent's ways out: AWS calls, the instance metadata, the two streams. The only sockets of the agent's client side.

HTTP is spoken on kept-alive connections over asyncio's streams, signed by our own SigV4: a botocore call would cost
2 ms of CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from longshore.aws.clock import Clock
from longshore.aws.errors import AwsError
from longshore.aws.sigv4 import sign

# json 1.1 services of the agent: X-Amz-Target's first part.
TARGETS = {"ecs": "AmazonEC2ContainerServiceV20141113", "logs": "Logs_20140328"}
_REQUEST_SECONDS = 30.0
_IDLE_SECONDS = 15.0  # a kept connection older than this is not trusted any more
_FRAME_BYTES_MAX = 16 * 1024 * 1024


class Credentials(Struct, frozen=True, kw_only=True):
    access_key_id: str
    secret_access_key: str
    session_token: str | None
    expires_at: datetime


class TransportError(Exception):
    """No answer: nothing is known of whether the request was carried out."""


class StreamRefused(Exception):
    """The handshake was answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Stream(Protocol):
    async def send(self, text: str) -> None:
        """TransportError: the other side is gone."""
        ...

    async def receive(self) -> str | None:
        """The next text frame; None when the other side is gone."""
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    async def aws(
        self, service: str, operation: str, params: dict[str, Any], credentials: Credentials
    ) -> dict[str, Any]:
        """`params` has the wire's member names; times are aware datetimes. AwsError: refused. TransportError: no answer."""
        ...

    async def metadata(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """(status, text). TransportError: no answer."""
        ...

    async def open_stream(self, url: str, service: str, credentials: Credentials, query: Mapping[str, str]) -> Stream:
        """`url` is http(s), without the query. StreamRefused, TransportError."""
        ...


class HttpTransport:
    """The real one."""

    def __init__(self, *, endpoint: str, metadata: str, region: str, clock: Clock) -> None:
        self._endpoint = endpoint
        self._metadata = metadata
        self._region = region
        self._clock = clock
        self._idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter, datetime]]] = {}

    async def aws(
        self, service: str, operation: str, params: dict[str, Any], credentials: Credentials
    ) -> dict[str, Any]:
        body = msgspec.json.encode(on_the_wire(params))
        url = f"{self._endpoint}/"
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{TARGETS[service]}.{operation}"}
        signed = self._signed("POST", url, headers, body, service, credentials)
        status, text = await self._request("POST", url, signed, body)
        if status < 300:
            return msgspec.json.decode(text or b"{}", type=dict[str, Any])
        raise error_of(status, text)

    async def metadata(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        url = f"{self._metadata}{path}"
        status, text = await self._request(method, url, {"host": urlsplit(url).netloc, **headers}, b"")
        return status, text.decode("utf-8", "replace")

    async def open_stream(self, url: str, service: str, credentials: Credentials, query: Mapping[str, str]) -> Stream:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException

        pairs = "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in sorted(query.items()))
        full = f"{url}?{pairs}"
        signed = self._signed("GET", full, {}, b"", service, credentials)
        host = signed.pop("host")
        assert host == urlsplit(full).netloc
        try:
            connection = await connect(
                "ws" + full.removeprefix("http"),
                additional_headers=signed,
                max_size=_FRAME_BYTES_MAX,
                compression=None,
                ping_interval=None,
                open_timeout=_REQUEST_SECONDS,
                close_timeout=1,
                proxy=None,
            )
        except InvalidStatus as refused:
            error = error_of(refused.response.status_code, bytes(refused.response.body or b""))
            raise StreamRefused(error.code, error.message) from refused
        except (OSError, WebSocketException, EOFError) as error:
            raise TransportError(f"stream {url}: {error}") from error
        return _WebSocket(connection)

    async def close(self) -> None:
        for connections in self._idle.values():
            for _, writer, _ in connections:
                writer.close()
        self._idle.clear()

    def _signed(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, service: str, credentials: Credentials
    ) -> dict[str, str]:
        return sign(
            method,
            url,
            headers,
            body,
            service,
            self._region,
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
            self._clock.now(),
        )

    async def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode()
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                return await self._exchange(parts.scheme, parts.netloc, head + body)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            raise TransportError(f"{method} {url}: {error!r}") from error

    async def _exchange(self, scheme: str, netloc: str, request: bytes) -> tuple[int, bytes]:
        place = f"{scheme}://{netloc}"
        kept = self._kept(place)
        if kept is not None:
            try:
                return await self._over(place, *kept, request)
            except (EOFError, ConnectionError):
                # The server closed it while it lay idle. Every call of the agent may be repeated.
                kept[1].close()
        port = urlsplit(place).port or (443 if scheme == "https" else 80)
        host = urlsplit(place).hostname or ""
        reader, writer = await asyncio.open_connection(host, port, ssl=True if scheme == "https" else None)
        return await self._over(place, reader, writer, request)

    def _kept(self, place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        connections = self._idle.get(place, [])
        while connections:
            reader, writer, since = connections.pop()
            fresh = self._clock.now() - since < timedelta(seconds=_IDLE_SECONDS)
            if fresh and not writer.is_closing() and not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def _over(
        self, place: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> tuple[int, bytes]:
        is_reusable = False
        try:
            writer.write(request)
            await writer.drain()
            status, body, is_reusable = await _read_answer(reader)
            return status, body
        finally:
            if is_reusable:
                self._idle.setdefault(place, []).append((reader, writer, self._clock.now()))
            else:
                writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """(status, body, whether the connection can be used again)."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = head[0].partition(" ")
    status = int(rest[:3])
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not HTTP: {head[0][:40]!r}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    is_reusable = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    if status in (204, 304):
        return status, b"", is_reusable
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return status, await _read_chunks(reader), is_reusable
    if "content-length" in headers:
        return status, await reader.readexactly(int(headers["content-length"])), is_reusable
    return status, await reader.read(), False


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b"".join(chunks)
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)


class _ErrorBody(Struct):
    kind: str | None = msgspec.field(name="__type", default=None)
    code: str | None = None
    message: str | None = None
    upper_message: str | None = msgspec.field(name="Message", default=None)


def error_of(status: int, body: bytes) -> AwsError:
    """`{"__type": "...", "message": "..."}` as the API answers, or `{"SomeException": "text"}` as the streams do."""
    try:
        raw = msgspec.json.decode(body, type=dict[str, Any])
        found = msgspec.convert(raw, _ErrorBody)
    except msgspec.MsgspecError:
        return AwsError("ServerException", body[:200].decode("utf-8", "replace"), status=status)
    code = found.kind or found.code
    if code is None:
        named = [(key, value) for key, value in raw.items() if key.endswith("Exception")]
        if not named:
            return AwsError("ServerException", str(raw)[:200], status=status)
        return AwsError(named[0][0], str(named[0][1]), status=status)
    return AwsError(code.rpartition("#")[2], found.message or found.upper_message or "", status=status)


def on_the_wire(value: Any) -> Any:
    """JSON services write times as epoch seconds; absent members are left out."""
    if isinstance(value, Mapping):
        return {
            key: each if type(each) in _AS_THEY_ARE else on_the_wire(each)
            for key, each in value.items()
            if each is not None
        }
    if isinstance(value, (list, tuple)):
        return [each if type(each) in _AS_THEY_ARE else on_the_wire(each) for each in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).timestamp()
    return value


_AS_THEY_ARE = frozenset({str, int, float, bool})


class _Connection(Protocol):
    async def send(self, message: str) -> None: ...
    async def recv(self, decode: bool | None = None) -> str | bytes: ...
    async def close(self) -> None: ...


class _WebSocket:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(text)
        except (ConnectionClosed, OSError) as error:
            raise TransportError(f"stream: {error}") from error

    async def receive(self) -> str | None:
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._connection.recv()
        except (ConnectionClosed, OSError):
            return None
        return message if isinstance(message, str) else message.decode("utf-8", "replace")

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            await self._connection.close()
