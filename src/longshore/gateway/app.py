"""The way of a request, on one page: route, authenticate, parse, authorize, check, act, serialize.

Requests come from the door, without a web framework: AWS's are not told apart by path alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import structlog

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.aws.wire import codec
from longshore.aws.wire.http import HttpRequest, HttpResponse
from longshore.aws.wire.route import Unroutable, route
from longshore.gateway.authenticate import Authenticator
from longshore.gateway.authorize import Authorizer
from longshore.gateway.dispatch import Dispatcher
from longshore.kit.access import Access
from longshore.kit.call import Call
from longshore.kit.house import House, Turn
from longshore.kit.operation import Extension, Operation, Stream
from longshore.kit.service import Service
from longshore.store.engine import Transaction

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PAGES = frozenset({"/healthz", "/readyz", "/metrics", "/_longshore/reset"})
# STS API reference: who calls these shows a token of somebody else's, and signs nothing.
_UNSIGNED = frozenset({"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"})
_JSON_STYLE = frozenset({"json", "rest-json"})

log = structlog.get_logger("longshore.gateway")


class Gateway:
    """Answers what reaches the endpoint. `pages` answers the paths that are not AWS's (health, metrics)."""

    def __init__(
        self,
        house: House,
        services: Mapping[str, Service],
        *,
        authenticator: Authenticator,
        authorizer: Authorizer,
        dispatcher: Dispatcher,
        pages: Callable[[Scope, Receive, Send], Awaitable[None]],
    ) -> None:
        self._house = house
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._dispatcher = dispatcher
        self._pages = pages
        self._services = services
        self._extensions = [
            (room.name, extension, _path_pattern(extension.path))
            for room in services.values()
            for extension in room.extensions
        ]
        self._streams = {stream.path: (room.name, stream) for room in services.values() for stream in room.streams}

    async def answer(self, request: HttpRequest, endpoint: str) -> HttpResponse:
        """Whatever is asked of this endpoint, a page or an operation. `endpoint` is the URL by which it was reached."""
        if request.path in _PAGES:
            return await _page(self._pages, request)
        return await self.handle(request, endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application: for the websockets. Requests come by the door."""
        assert scope["type"] == "websocket", f"`{scope['type']}` by ASGI"
        await self._serve_stream(scope, receive, send)

    async def handle(self, request: HttpRequest, endpoint: str) -> HttpResponse:
        """One request to its answer. Never raises: what breaks is logged and answered as an internal failure."""
        request_id = self._house.ids.uuid()
        if request.path.startswith("/_longshore/"):
            return await self._handle_extension(request, endpoint, request_id)
        try:
            where = route(request)
        except Unroutable as error:
            return codec.serialize_error(error.service, None, error, request_id)
        form = where.operation
        service = form.service
        call: Call | None = None
        operation: Operation | None = None
        parameters: Mapping[str, Any] | None = None
        try:
            if form.name in _UNSIGNED:
                self._dispatcher.operation(service.name, form.name)  # It is not offered, and says so to anybody.
            now = self._house.clock.now()
            principal = self._authenticator.authenticate(
                request, now, json_style=service.protocol in _JSON_STYLE, service=service.name
            )
            parameters = codec.parse(form, request)
            operation = self._dispatcher.operation(service.name, form.name)
            call = self._call(service.name, form.name, where.region, principal, request, endpoint, request_id)
            response = await self._run(call, operation, parameters)
            answer = codec.serialize(form, response, request_id)
        except AwsError as error:
            if call is not None and operation is not None:
                self._dispatcher.tell(call, operation.writes, error, parameters)
            return codec.serialize_error(service, form, error, request_id)
        except Exception:
            log.exception("request failed", service=service.name, operation=form.name, request_id=request_id)
            return codec.serialize_error(service, form, _internal(service.protocol), request_id)
        self._dispatcher.tell(call, operation.writes, None, parameters, response)
        return answer

    async def _run(self, call: Call, operation: Operation, parameters: Mapping[str, Any]) -> dict[str, Any]:
        def run(transaction: Transaction) -> dict[str, Any]:
            call.transaction = transaction
            return self._dispatcher.run(call, operation, parameters)

        if operation.writes:
            return await self._house.store.write(run)
        return self._house.store.read(run)

    def _call(
        self,
        service: str,
        operation: str,
        region: str | None,
        principal: Principal,
        request: HttpRequest,
        endpoint: str,
        request_id: str,
    ) -> Call:
        return Call(
            house=self._house,
            service=service,
            operation=operation,
            principal=principal,
            region=region or self._house.settings.region,
            transaction=_NO_TRANSACTION,
            now=self._house.clock.now(),
            request_id=request_id,
            endpoint=endpoint,
            source_ip=request.source_ip,
            user_agent=request.headers.get("user-agent", ""),
        )

    # What AWS has no operation for: signed and authorized like all else, JSON in and out.

    async def _handle_extension(self, request: HttpRequest, endpoint: str, request_id: str) -> HttpResponse:
        call: Call | None = None
        try:
            room, extension, parameters = self._find_extension(request)
            principal = self._authenticator.authenticate(request, self._house.clock.now(), json_style=True)
            if request.body:
                parameters = {**_json_object(request.body), **parameters}
            name = extension.action.partition(":")[2]
            call = self._call(room, name, None, principal, request, endpoint, request_id)

            def run(transaction: Transaction) -> dict[str, Any]:
                call.transaction = transaction
                self._authorizer.authorize(call, Access(action=extension.action), parameters)
                return extension.handler(call, parameters)

            if extension.writes:
                answer = await self._house.store.write(run)
            else:
                answer = self._house.store.read(run)
        except AwsError as error:
            if call is not None:
                self._dispatcher.tell(call, extension.writes, error)
            return _json_answer(error.status or 400, {"__type": error.code, "message": error.message})
        except Exception:
            log.exception("request failed", path=request.path, request_id=request_id)
            return _json_answer(500, {"__type": "InternalFailure", "message": "The request failed; see the log."})
        self._dispatcher.tell(call, extension.writes, None)
        return _json_answer(200, answer)

    def _find_extension(self, request: HttpRequest) -> tuple[str, Extension, dict[str, Any]]:
        for room, extension, pattern in self._extensions:
            match = pattern.fullmatch(request.path)
            if match and extension.method == request.method:
                query = dict(parse_qsl(request.query_string))
                return room, extension, {**query, **{k: unquote(v) for k, v in match.groupdict().items()}}
        raise AwsError("UnknownOperationException", f"no such path: {request.path}", status=404)

    # The agent's websockets.

    async def _serve_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        request = _handshake(scope)
        endpoint = _endpoint(scope)
        try:
            found = self._streams.get(scope["path"])
            if found is None:
                raise AwsError("UnknownOperationException", f"no such stream: {scope['path']}", status=404)
            room, stream = found
            turn, ask = self._admit(room, stream, request, endpoint)
        except AwsError as error:
            status = error.status or 400
            await send(
                {
                    "type": "websocket.http.response.start",
                    "status": status,
                    "headers": [(b"content-type", b"application/json"), (b"x-amzn-errortype", error.code.encode())],
                }
            )
            body = msgspec.json.encode({error.code: error.message})
            await send({"type": "websocket.http.response.body", "body": body})
            return
        await send({"type": "websocket.accept"})
        session = _WebsocketSession(self._house, turn, ask, dict(parse_qsl(request.query_string)), receive, send)
        try:
            await stream.handler(session)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("stream failed", path=scope["path"])
        finally:
            await session.close(1000)

    def _admit(self, room: str, stream: Stream, request: HttpRequest, endpoint: str) -> tuple[Turn, Callable[[], Call]]:
        """Who speaks; and what asks the policies again, with the handshake as it was. AwsError: it is not let in."""
        principal = self._authenticator.authenticate(request, self._house.clock.now(), json_style=True)
        region = self._house.settings.region

        def ask() -> Call:
            return self._ask_for_stream(room, stream, request, endpoint, principal)

        self._dispatcher.tell(ask(), False, None)
        return Turn(self._house, room, principal, region, endpoint), ask

    def _ask_for_stream(
        self, room: str, stream: Stream, request: HttpRequest, endpoint: str, principal: Principal
    ) -> Call:
        name = stream.action.partition(":")[2]
        region = self._house.settings.region
        call = self._call(room, name, region, principal, request, endpoint, self._house.ids.uuid())
        query = dict(parse_qsl(request.query_string))

        def ask(transaction: Transaction) -> None:
            call.transaction = transaction
            row = self._services[room].access.get(name) or Access(action=stream.action)
            call.resource = self._authorizer.authorize(call, row, query)

        try:
            self._house.store.read(ask)
        except AwsError as error:
            self._dispatcher.tell(call, False, error)
            raise
        except (KeyError, ValueError) as error:
            raise AwsError("InvalidParameterException", f"the handshake lacks {error}", status=400) from error
        return call


class _WebsocketSession:
    """A StreamSession over ASGI."""

    def __init__(
        self,
        house: House,
        turn: Turn,
        ask: Callable[[], Call],
        query: Mapping[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        self.house = house
        self.turn = turn
        self._ask = ask
        self.query = query
        self._receive = receive
        self._send = send
        self._open = True

    async def send(self, text: str) -> None:
        if self._open:
            await self._send({"type": "websocket.send", "text": text})

    async def receive(self) -> str | None:
        while self._open:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._open = False
            elif message["type"] == "websocket.receive":
                text: str | None = message.get("text")
                return text if text is not None else str(message["bytes"], "utf-8", "replace")
        return None

    def is_allowed(self) -> bool:
        try:
            self._ask()
        except AwsError:
            return False
        return True

    async def close(self, code: int = 1000) -> None:
        if self._open:
            self._open = False
            await self._send({"type": "websocket.close", "code": code})


class _NoTransaction(Transaction):
    """Stands where none has begun yet."""

    def __init__(self) -> None:  # Nothing to hold.
        pass


_NO_TRANSACTION = _NoTransaction()


async def _page(pages: Callable[[Scope, Receive, Send], Awaitable[None]], request: HttpRequest) -> HttpResponse:
    """What an ASGI application of pages answers."""
    start: MutableMapping[str, Any] = {}
    body: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": request.body}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.append(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode("latin-1"),
        "query_string": request.query_string.encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()],
        "client": (request.source_ip, 0),
        "server": None,
    }
    await pages(scope, receive, send)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return HttpResponse(start["status"], [each for each in headers if each[0] != "content-length"], b"".join(body))


def _handshake(scope: Scope) -> HttpRequest:
    client = scope.get("client")
    raw_path = scope.get("raw_path") or scope["path"].encode()
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1")
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return HttpRequest(
        method="GET",
        path=raw_path.decode("latin-1"),
        query_string=scope["query_string"].decode("latin-1"),
        headers=headers,
        source_ip=client[0] if client else "",
    )


def _endpoint(scope: Scope) -> str:
    """The URL by which the caller reached us: what we give it must be reachable in the same way."""
    secure = scope.get("scheme") in ("https", "wss")
    for name, value in scope["headers"]:
        if name == b"host":
            return f"{'https' if secure else 'http'}://{value.decode('latin-1')}"
    host, port = scope.get("server") or ("127.0.0.1", 4570)
    return f"{'https' if secure else 'http'}://{host}:{port}"


def _internal(protocol: str) -> AwsError:
    code = "ServerException" if protocol in _JSON_STYLE else "InternalFailure"
    return AwsError(code, "The request processing has failed because of an internal error.", status=500)


def _json_answer(status: int, value: Mapping[str, Any]) -> HttpResponse:
    return HttpResponse(status, [("content-type", "application/json")], msgspec.json.encode(value))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except RecursionError:
        raise AwsError("SerializationException", "The request body is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise AwsError("SerializationException", str(error)) from None


def _path_pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))
