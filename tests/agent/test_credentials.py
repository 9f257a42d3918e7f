"""What containers are told at 169.254.170.2, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agent.scripted_server import CONFIG, Bench, container, session, task
from longshore.agent import main
from longshore.agent.credentials import Endpoint, TaskCredentials, served
from longshore.agent.protocol import RoleCredentials


def held(role_type: str = "TaskApplication") -> TaskCredentials:
    made = TaskCredentials()
    made.put("arn:task", role_type, msgspec.convert(session("c1"), RoleCredentials))
    return made


def asked(endpoint: Endpoint, target: str, method: str = "GET") -> tuple[int, Any]:
    status, body = endpoint.answer(method, target)
    return status, json.loads(body)


def test_a_container_gets_its_role_s_session() -> None:
    status, document = asked(Endpoint(held(), lambda *_: None), "/v2/credentials/c1")
    assert status == 200
    assert document == {
        "RoleArn": "arn:aws:iam::123456789012:role/job",
        "AccessKeyId": "ASIATASK",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": "2026-01-01T06:00:00Z",
    }


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v2/credentials/other", 400, "InvalidIdInRequest"),
        ("/v2/credentials", 400, "NoIdInRequest"),
        ("/v2/credentials/", 400, "NoIdInRequest"),
    ],
)
def test_an_unknown_id_is_refused(target: str, status: int, code: str) -> None:
    answered, document = asked(Endpoint(held(), lambda *_: None), target)
    assert (answered, document["code"]) == (status, code)


def test_the_session_of_the_execution_role_is_not_for_the_task() -> None:
    assert asked(Endpoint(held("TaskExecution"), lambda *_: None), "/v2/credentials/c1")[0] == 400


def test_sessions_end_with_their_task() -> None:
    credentials = held()
    credentials.forget("arn:task")
    assert asked(Endpoint(credentials, lambda *_: None), "/v2/credentials/c1")[0] == 400


@pytest.mark.parametrize("target", ["/", "/v4/x", "/v4/x/task", "/v2", "/v4//etc", "//"])
def test_what_is_not_there_is_not_found(target: str) -> None:
    assert asked(Endpoint(held(), lambda *_: None), target)[0] == 404


def test_only_reading_is_offered() -> None:
    assert asked(Endpoint(held(), lambda *_: None), "/v2/credentials/c1", "POST")[0] == 405


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(replace(CONFIG, credentials_bind="169.254.170.2:80"))
    yield made
    made.close()


def test_a_container_reads_what_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Endpoint] = []

    @contextlib.asynccontextmanager
    async def caught(endpoint: Endpoint, bind: str) -> AsyncIterator[tuple[str, int]]:
        assert bind == "169.254.170.2:80"
        found.append(endpoint)
        yield "169.254.170.2", 80

    monkeypatch.setattr(main, "served", caught)
    bench.joined()
    log = {"awslogs-stream": "s", "awslogs-region": "us-east-1"}
    running = container(log=log, environment={"LONGSHORE_RUN_SECONDS": "60"})
    bench.pay(task("t1", running, cpu=0.5, memory=100, roleCredentials=session("c1")))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    (endpoint,) = found
    (made,) = bench.runtime._containers.values()
    said = made.spec.environment
    assert asked(endpoint, said["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])[1]["AccessKeyId"] == "ASIATASK"
    where = said["ECS_CONTAINER_METADATA_URI_V4"].removeprefix("http://169.254.170.2")
    status, document = asked(endpoint, where)
    assert status == 200
    assert document["LogDriver"] == "awslogs"
    assert document["LogOptions"]["awslogs-group"] == "/jobs"
    assert (document["Name"], document["KnownStatus"], document["Image"]) == ("main", "RUNNING", "busybox:local")
    assert document["Limits"] == {"CPU": 128, "Memory": 64}
    assert document["StartedAt"].endswith("Z")
    _, shown = asked(endpoint, f"{where}/task")
    assert (shown["Family"], shown["Revision"], shown["LaunchType"]) == ("fam", "1", "EC2")
    assert shown["Limits"] == {"CPU": 0.5, "Memory": 100}
    assert [each["Name"] for each in shown["Containers"]] == ["main"]
    assert asked(endpoint, f"{where}/stats")[0] == asked(endpoint, f"{where}/task/stats")[0] == 200
    bench.until(lambda: bench.server.reports()[-1] == "STOPPED", seconds=100)
    bench.pass_time(1)
    assert asked(endpoint, where)[0] == 404
    assert asked(endpoint, said["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])[0] == 400


def over_sockets(talk: Callable[[str, int], Any]) -> Any:
    async def run() -> Any:
        async with served(Endpoint(held(), lambda *_: {"Name": "main"}), "127.0.0.1:0") as (host, port):
            return await asyncio.to_thread(talk, host, port)

    return asyncio.run(run())


def test_it_is_served_over_kept_connections() -> None:
    def talk(host: str, port: int) -> list[tuple[int, Any]]:
        connection = http.client.HTTPConnection(host, port, timeout=5)
        found = []
        for target in ("/v2/credentials/c1", "/v4/x", "/v4/x/stats", "/nowhere"):
            connection.request("GET", target)
            answer = connection.getresponse()
            found.append((answer.status, json.loads(answer.read())))
        connection.close()
        return found

    found = over_sockets(talk)
    assert [status for status, _ in found] == [200, 200, 200, 404]
    assert found[0][1]["AccessKeyId"] == "ASIATASK"


def test_nonsense_ends_its_connection_and_no_other() -> None:
    import socket

    def talk(host: str, port: int) -> bytes:
        with socket.create_connection((host, port), timeout=5) as line:
            line.sendall(b"x" * 100_000)
            try:
                while line.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        with socket.create_connection((host, port), timeout=5) as line:
            line.sendall(b"GET /v2/credentials/c1 HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: line.recv(4096), b""))

    assert b"ASIATASK" in over_sockets(talk)
