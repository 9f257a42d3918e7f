"""HTTP as clients speak it, well and badly, over a real socket to a gateway that echoes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from longshore.aws.wire.http import HttpRequest, HttpResponse
from longshore.gateway import door
from longshore.gateway.door import Door

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]
POST = b"POST /v1/submitjob?a=b HTTP/1.1\r\nHost: here\r\nX-Amz-Date: now\r\nContent-Length: 4\r\n\r\nbody"


class Echo:
    """Answers with what it was asked, after as many turns of the loop as the query says."""

    def __init__(self) -> None:
        self.asked: list[HttpRequest] = []
        self.endpoints: list[str] = []
        self.answer_with: HttpResponse | None = None

    async def answer(self, request: HttpRequest, endpoint: str) -> HttpResponse:
        self.asked.append(request)
        self.endpoints.append(endpoint)
        for _ in range(int(request.query_string or 0) if request.query_string.isdigit() else 0):
            await asyncio.sleep(0)
        if self.answer_with is not None:
            return self.answer_with
        return HttpResponse(200, [("x-path", request.path)], request.body or request.path.encode())

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """A websocket says where it was reached, and what it hears."""
        assert (scope["type"], (await receive())["type"]) == ("websocket", "websocket.connect")
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{scope['path']}?{scope['query_string'].decode()}"})
        heard = await receive()
        await send({"type": "websocket.send", "text": heard["text"]})
        await send({"type": "websocket.close", "code": 1000})


def visit(client: Client, gateway: Echo | None = None) -> Any:
    """What `client` gives, run against a door."""
    gateway = gateway or Echo()

    async def run() -> Any:
        config = uvicorn.Config(gateway, http=Door, ws="websockets-sansio", lifespan="off", log_config=None)  # type: ignore[arg-type]
        config.load()
        state = SimpleNamespace(connections=set(), tasks=set(), default_headers=[], total_requests=0)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Door(config, state, {}), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                gave = await asyncio.wait_for(client(reader, writer), 10)
            finally:
                writer.close()
                await writer.wait_closed()
            while state.connections or state.tasks:
                await asyncio.sleep(0)
            return gave

    return asyncio.run(run())


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split(" ")[1]), headers, body


def say(*pieces: bytes, answers: int = 1) -> Client:
    """Sends the pieces, and reads so many answers."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return [await read_answer(reader) for _ in range(answers)]

    return client


async def read_to_the_end(reader: asyncio.StreamReader, said: bytes, writer: asyncio.StreamWriter) -> bytes:
    writer.write(said)
    return await reader.read()


def test_a_request_reaches_the_gateway_as_it_was_sent() -> None:
    gateway = Echo()
    ((status, headers, body),) = visit(say(POST), gateway)
    assert (status, headers["x-path"], body) == (200, "/v1/submitjob", b"body")
    assert gateway.asked == [
        HttpRequest(
            method="POST",
            path="/v1/submitjob",
            query_string="a=b",
            headers={"host": "here", "x-amz-date": "now", "content-length": "4"},
            body=b"body",
            source_ip="127.0.0.1",
        )
    ]
    assert gateway.endpoints == ["http://here"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, len(POST) - 1), max_size=5))
def test_however_it_is_cut_into_packets_it_is_the_same_request(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(POST)]
    pieces = [POST[start:end] for start, end in itertools.pairwise(edges)]
    gateway = Echo()
    ((status, _, body),) = visit(say(*pieces), gateway)
    assert (status, body, gateway.asked[0].headers["host"]) == (200, b"body", "here")


def test_a_connection_is_kept_and_requests_sent_ahead_are_answered_in_their_order() -> None:
    said = b"".join(f"GET /{number}?{30 - number} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for number in range(30))
    answers = visit(say(said, answers=30))
    assert [body for _, _, body in answers] == [f"/{number}".encode() for number in range(30)]


def test_percent_encoding_stays_and_repeated_headers_are_joined() -> None:
    gateway = Echo()
    visit(say(b"GET /v1/tags/arn%3Aaws%2Fx HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n"), gateway)
    assert (gateway.asked[0].path, gateway.asked[0].headers["x-a"]) == ("/v1/tags/arn%3Aaws%2Fx", "1,2")


def test_a_whole_url_as_target_is_taken_apart() -> None:
    gateway = Echo()
    visit(say(b"GET http://elsewhere/path?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"), gateway)
    assert (gateway.asked[0].path, gateway.asked[0].query_string) == ("/path", "x=1")


def test_a_body_in_chunks_is_put_together_and_its_trailer_says_nothing() -> None:
    gateway = Echo()
    said = (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Late: 1\r\nHost: other\r\n\r\n"
    )
    ((_, _, body),) = visit(say(said), gateway)
    assert body == b"abcde"
    assert (gateway.asked[0].headers["host"], "x-late" in gateway.asked[0].headers) == ("h", False)


def test_who_waits_to_be_told_to_send_the_body_is_told() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        return await read_answer(reader)

    assert visit(client)[2] == b"ok"


@pytest.mark.parametrize(
    "said",
    [
        b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /last HTTP/1.0\r\n\r\n",
        b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n",
    ],
)
def test_the_connection_ends_with_the_answer_when_nothing_can_follow_it(said: bytes) -> None:
    gateway = Echo()
    answer = visit(lambda reader, writer: read_to_the_end(reader, said, writer), gateway)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"connection: close\r\n\r\n/last")
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nabcdefg\r\n", 413),
        (b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 400), 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n%s\r\n" % (b"X-A: 1234567890\r\n" * 40), 431),
    ],
)
def test_what_is_no_request_is_refused_and_nobody_hears_of_it(
    said: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "HEAD_BYTES_MAX", 300)
    monkeypatch.setattr(door, "BODY_BYTES_MAX", 6)
    gateway = Echo()
    answer = visit(lambda reader, writer: read_to_the_end(reader, said, writer), gateway)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert gateway.asked == []


_SCOPE = "AWS4-HMAC-SHA256 Credential=AKIA/20260102/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    ("headers", "kind", "words"),
    [
        ({"Authorization": _SCOPE.format("logs"), "X-Amz-Target": "Logs_20140328.PutLogEvents"}, "application/x-amz-json-1.1",
         b'"__type":"RequestEntityTooLargeException"'),
        ({"X-Amz-Target": "Logs_20140328.PutLogEvents"}, "application/x-amz-json-1.1", b'"RequestEntityTooLargeException"'),
        ({"Authorization": _SCOPE.format("batch")}, "application/json", b'"message":"The request body must not exceed 6 bytes."'),
        ({"Authorization": _SCOPE.format("iam")}, "text/xml", b"<Code>RequestEntityTooLarge</Code>"),
        ({"Authorization": _SCOPE.format("ec2")}, "text/xml", b"<Errors><Error><Code>RequestEntityTooLarge</Code>"),
        ({}, "application/json", b'"__type":"RequestEntityTooLargeException"'),
    ],
)  # fmt: skip
def test_a_body_that_is_too_large_is_refused_in_the_form_of_its_service(
    headers: dict[str, str], kind: str, words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "BODY_BYTES_MAX", 6)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    said = f"POST / HTTP/1.1\r\nHost: h\r\n{lines}Content-Length: 7\r\n\r\n".encode()
    answer = visit(lambda reader, writer: read_to_the_end(reader, said, writer))
    assert answer.startswith(b"HTTP/1.1 413 ") and words in answer
    assert f"content-type: {kind}".encode() in answer.lower()


def test_what_came_before_a_broken_request_is_still_answered() -> None:
    said = b"GET /good?5 HTTP/1.1\r\nHost: h\r\n\r\nbroken\r\n\r\n"
    answer = visit(lambda reader, writer: read_to_the_end(reader, said, writer))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"/goodHTTP/1.1 400 Bad Request\r\n" in answer


def test_an_answer_to_head_has_the_length_and_not_the_body() -> None:
    said = b"HEAD /some HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answer = visit(lambda reader, writer: read_to_the_end(reader, said, writer))
    assert b"content-length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\rb"])
def test_a_header_that_would_begin_another_is_never_sent(value: str) -> None:
    gateway = Echo()
    gateway.answer_with = HttpResponse(200, [("x-a", value)])
    faults: list[Any] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context["exception"]))
        try:
            return await read_to_the_end(reader, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", writer)
        except ConnectionResetError:
            return b""

    assert visit(client, gateway) == b""


def test_a_client_that_reads_nothing_is_not_read_either() -> None:
    gateway = Echo()
    gateway.answer_with = HttpResponse(200, [], b"x" * 1_000_000)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 5000)
        for _ in range(2000):
            await asyncio.sleep(0)
        return len(gateway.asked)

    assert visit(client, gateway) < 1000


def test_a_websocket_is_handed_over_with_its_handshake() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[str | bytes]:
        host, port = writer.get_extra_info("peername")
        async with connect(f"ws://{host}:{port}/ws?cluster=a%2Fb") as stream:
            first = await stream.recv()
            await stream.send("hello")
            return [first, await stream.recv()]

    assert visit(client) == ["/ws?cluster=a%2Fb", "hello"]


def test_at_the_end_of_the_server_what_is_under_way_is_answered_and_idle_connections_close() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /long?50 HTTP/1.1\r\nHost: h\r\n\r\n")
        while not gateway.asked:
            await asyncio.sleep(0)
        for connection in list(doors):
            connection.shutdown()
        return await reader.read()

    gateway, doors = Echo(), set[Door]()
    made = Door.connection_made

    def connection_made(self: Door, transport: asyncio.BaseTransport) -> None:
        doors.add(self)
        made(self, transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Door, "connection_made", connection_made)
        answer = visit(client, gateway)
    assert answer.endswith(b"connection: close\r\n\r\n/long")


def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_IDLE_SECONDS_MAX", 0.01)
    assert visit(lambda reader, writer: reader.read()) == b""
