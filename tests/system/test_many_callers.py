"""Callers who would wear the real server out: what is too large or too deep is refused, and others are served meanwhile."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from longshore.gateway.door import BODY_BYTES_MAX, HEAD_BYTES_MAX
from system.running import REGION, ROOT_KEY, ROOT_SECRET, Server

SERVED_SECONDS = 2.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("many") / "state")
    yield started
    assert started.end() == 0


def connected(server: Server) -> socket.socket:
    host, port = server.endpoint.removeprefix("http://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), 10)


def answer_to(server: Server, said: bytes) -> str:
    """The first line of the answer."""
    with connected(server) as connection:
        connection.sendall(said)
        return connection.makefile("rb").readline().decode("latin-1").strip()


def is_served(server: Server) -> bool:
    began = time.monotonic()
    assert server.client("sts").get_caller_identity()["Account"] == "123456789012"
    return time.monotonic() - began < SERVED_SECONDS


def memory_mib(server: Server) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) // 1024


def test_a_thousand_connections_that_say_nothing_or_little_hold_nobody_up(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("a thousand connections need more open files than this host allows")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    before = memory_mib(server)
    idle = []
    try:
        for number in range(1000):
            idle.append(connected(server))
            if number % 2:
                idle[-1].sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        for each in idle[1::2]:
            each.sendall(b" ")  # and on, a byte at a time
            assert each.fileno() >= 0
        assert is_served(server)
        assert memory_mib(server) - before < 100
    finally:
        for each in idle:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert is_served(server)


def test_what_is_larger_than_is_taken_is_refused_before_it_is_read(server: Server) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n".encode()
    assert answer_to(server, head).startswith("HTTP/1.1 413 ")
    header = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * (HEAD_BYTES_MAX + 1) + b"\r\n\r\n"
    assert answer_to(server, header).startswith("HTTP/1.1 431 ")
    assert is_served(server)


def test_a_body_without_an_announced_length_is_cut_off_at_the_limit(server: Server) -> None:
    before = memory_mib(server)
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with connected(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 64:
                connection.sendall(piece)
                sent += 1
        except OSError:
            pass  # It hung up.
    assert sent < 64
    assert memory_mib(server) - before < 100
    assert is_served(server)


@pytest.mark.parametrize(
    "kind, body",
    [
        ("application/x-amz-json-1.1", b'{"a":' * 200_000),
        ("application/x-amz-json-1.1", b"[" * 1_000_000),
        ("application/x-amz-json-1.1", b'{"logGroupName":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        (
            "application/xml",
            b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
            + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
            + b"]><l>&m;</l>",
        ),
        ("application/x-www-form-urlencoded", b"Action=GetCallerIdentity&" + b".member" * 100_000 + b"=1"),
    ],
    ids=["objects", "open lists", "lists", "entities", "members"],
)
def test_what_is_nested_or_grows_is_answered_soon_and_not_as_valid(server: Server, kind: str, body: bytes) -> None:
    before = memory_mib(server)
    head = (
        "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Logs_20140328.DescribeLogGroups\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    began = time.monotonic()
    status = answer_to(server, head.encode() + body).split()[1]
    assert status in ("400", "403")
    assert time.monotonic() - began < SERVED_SECONDS
    assert memory_mib(server) - before < 100
    assert is_served(server)


def test_a_signed_request_as_deep_as_that_is_refused_too(server: Server) -> None:
    """Past the signature, where the body is parsed."""
    for body in (b'{"logGroupNamePrefix":' * 100_000, b'{"logGroupNamePrefix":' + b"[" * 50_000 + b"]" * 50_000 + b"}"):
        request = AWSRequest(
            "POST", server.endpoint + "/", data=body,
            headers={"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"},
        )  # fmt: skip
        SigV4Auth(Credentials(ROOT_KEY, ROOT_SECRET), "logs", REGION).add_auth(request)
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        host = server.endpoint.removeprefix("http://")
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        with connected(server) as connection:
            connection.sendall(head.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400 ") and b"SerializationException" in answer
        assert is_served(server)
