"""What a container asks at 169.254.170.2: the credentials of its task's role, and what it is itself.

Ids in the paths can't be guessed, and each is known to its own task alone.
Source: ECS developer guide, "Task IAM role" and "Task metadata endpoint version 4"; amazon-ecs-agent's `ecs-agent/tmds`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from longshore.agent.protocol import APPLICATION, RoleCredentials
from longshore.agent.transport import Credentials

_HEAD_BYTES_MAX = 16 * 1024
_IDLE_SECONDS = 60.0


class Held(Struct, frozen=True):
    task_arn: str
    role_type: str  # TaskApplication, TaskExecution
    session: RoleCredentials


class TaskCredentials:
    """The sessions of the tasks' roles, in memory alone. After a restart the server sends them anew."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._news: dict[str, asyncio.Event] = {}

    def put(self, task_arn: str, role_type: str, session: RoleCredentials) -> None:
        self._held[session.credentials_id] = Held(task_arn, role_type, session)
        waiting = self._news.pop(session.credentials_id, None)
        if waiting is not None:
            waiting.set()

    def find(self, credentials_id: str) -> Held | None:
        return self._held.get(credentials_id)

    async def session(self, credentials_id: str) -> Credentials:
        """Waits for one that the server has still to send."""
        while (held := self._held.get(credentials_id)) is None:
            await self._news.setdefault(credentials_id, asyncio.Event()).wait()
        return held.session.as_credentials()

    def forget(self, task_arn: str) -> None:
        self._held = {key: held for key, held in self._held.items() if held.task_arn != task_arn}


# The task or container behind an endpoint's id: its document, or None.
Describe = Callable[[str, str], Mapping[str, Any] | None]


class Endpoint:
    """The pages. Pure: a path in, a status and a JSON document out."""

    def __init__(self, credentials: TaskCredentials, describe: Describe) -> None:
        self._credentials = credentials
        self._describe = describe

    def answer(self, method: str, target: str) -> tuple[int, bytes]:
        if method not in ("GET", "HEAD"):
            return 405, _json("Method Not Allowed")
        path = target.partition("?")[0]
        parts = [part for part in path.split("/") if part]
        match parts:
            case ["v2", "credentials"]:
                return _refused("NoIdInRequest", "CredentialsV2Request: No ID in the request")
            case ["v2", "credentials", credentials_id]:
                return self._session(credentials_id)
            case ["v3" | "v4", endpoint_id]:
                return self._document(endpoint_id, "container")
            case ["v3" | "v4", endpoint_id, "task" | "taskWithTags"]:
                return self._document(endpoint_id, "task")
            case ["v3" | "v4", endpoint_id, "stats"]:
                return self._document(endpoint_id, "stats")
            case ["v3" | "v4", endpoint_id, "task", "stats"]:
                return self._document(endpoint_id, "task stats")
        return 404, _json(f"404 page not found: {path}")

    def _session(self, credentials_id: str) -> tuple[int, bytes]:
        held = self._credentials.find(credentials_id)
        if held is None or held.role_type != APPLICATION:
            # The session of the execution role is for the agent itself, not for what runs in the task.
            return _refused("InvalidIdInRequest", "CredentialsV2Request: Credentials not found")
        session = held.session
        return 200, _json(
            {
                "RoleArn": session.role_arn,
                "AccessKeyId": session.access_key_id,
                "SecretAccessKey": session.secret_access_key,
                "Token": session.session_token,
                "Expiration": session.expiration,
            }
        )

    def _document(self, endpoint_id: str, what: str) -> tuple[int, bytes]:
        document = self._describe(endpoint_id, what)
        if document is None:
            return 404, _json(f"V4 {what} metadata handler: unable to get task arn from request: unknown endpoint id")
        return 200, _json(document)


def _refused(code: str, message: str) -> tuple[int, bytes]:
    return 400, _json({"code": code, "message": message, "HTTPErrorCode": 400})


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


@contextlib.asynccontextmanager
async def served(endpoint: Endpoint, bind: str) -> AsyncIterator[tuple[str, int]]:
    """Listens at `bind`, `address:port`; gives the port really taken. OSError.

    A web framework would double the agent's memory for five pages without a body.
    """
    address, _, port = bind.rpartition(":")
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_talk(endpoint, reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, address, int(port), limit=_HEAD_BYTES_MAX)
    try:
        taken = server.sockets[0].getsockname()
        yield taken[0], taken[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _talk(endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            async with asyncio.timeout(_IDLE_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, _, rest = head[0].partition(" ")
            target, _, version = rest.partition(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
            status, body = endpoint.answer(method, target)
            keeps = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close" and not has_body
            writer.write(_head(status, len(body), keeps) + (b"" if method == "HEAD" else body))
            await writer.drain()
            if not keeps:
                return
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        return  # The other side has left, or never said what it wants.
    finally:
        writer.close()


_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


def _head(status: int, length: int, keeps: bool) -> bytes:
    connection = "" if keeps else "Connection: close\r\n"
    return (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{connection}\r\n"
    ).encode()
