"""The other end of an agent, held by the test: it answers what it is told to answer, and remembers what was said."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.agent.config import AgentConfig
from longshore.agent.main import run
from longshore.agent.runtimes.memory import MemoryRuntime
from longshore.agent.session import AgentEnded
from longshore.agent.shelf import MemoryShelf
from longshore.agent.transport import Credentials, StreamRefused, TransportError
from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids
from longshore.services.logs import repeats
from virtual_time import VirtualClock, VirtualLoop

CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
INSTANCE = "arn:aws:ecs:us-east-1:123456789012:container-instance/demo/0123456789abcdef0123456789abcdef"
CONFIG = AgentConfig(
    endpoint="http://127.0.0.1:4570", region="us-east-1", vcpus=2, memory_mib=4096, cluster="demo",
    instance_attributes=(("stack", "test"),), is_privileged_allowed=True,
)  # fmt: skip
DENIED = AwsError(
    "AccessDeniedException",
    "User: arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/i-0 is not authorized to perform: it",
    status=400,
)


class Counter:
    """Randomness that is none: every identifier differs."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def random_bytes(self, count: int) -> bytes:
        return (next(self._count) % 256**count).to_bytes(count, "big")


class ScriptedStream:
    def __init__(self, query: Mapping[str, str]) -> None:
        self.query = dict(query)
        self.said: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.is_open = True
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()

    async def send(self, text: str) -> None:
        if not self.is_open:
            raise TransportError("gone")
        self.raw.append(text)
        self.said.append(json.loads(text[text.index("{") :]))

    async def receive(self) -> str | None:
        return await self._inbox.get() if self.is_open else None

    async def close(self) -> None:
        self.is_open = False

    def tell(self, kind: str, **message: Any) -> None:
        self._inbox.put_nowait(json.dumps({"type": kind, "message": message}))

    def drop(self) -> None:
        """The connection is lost."""
        self.is_open = False
        self._inbox.put_nowait(None)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each["message"] for each in self.said if each["type"] == kind]


class ScriptedServer:
    """A Transport. `faults[operation]`: what the next calls meet, one each: an error, `lost` (done, but no answer), None."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.calls: list[tuple[str, dict[str, Any], Credentials]] = []
        self.faults: dict[str, list[Any]] = {}
        self.always: dict[str, Exception] = {}
        self.streams: list[ScriptedStream] = []
        self.telemetry: list[ScriptedStream] = []
        self.stream_faults: list[Exception] = []
        self.handshakes: list[float] = []
        self.role: str | None = "ecsInstanceRole"
        self.session_seconds = 6 * 3600.0
        self.sessions = 0
        self.tokens = 0
        self.valid_token = ""
        self.metadata_is_away = False
        self.attributes_lost: set[str] = set()
        self.log: dict[str, list[str]] = {}  # as the Logs room keeps it: repetitions left out
        self.positions: dict[str, dict[str, int]] = {}
        self.accepted: list[dict[str, Any]] = []  # reports

    async def aws(
        self, service: str, operation: str, params: dict[str, Any], credentials: Credentials
    ) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        self.calls.append((operation, json.loads(json.dumps(params)), credentials))
        if operation in self.always:
            raise self.always[operation]
        faults = self.faults.get(operation)
        fault = faults.pop(0) if faults else None
        if isinstance(fault, Exception):
            raise fault
        answer = self._done(operation, params)
        if fault == "lost":
            raise TransportError("the answer was lost")
        return answer

    def _done(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "RegisterContainerInstance":
                kept = [each for each in params["attributes"] if each["name"] not in self.attributes_lost]
                return {"containerInstance": {"containerInstanceArn": INSTANCE, "status": "ACTIVE", "attributes": kept}}
            case "DiscoverPollEndpoint":
                return {"endpoint": f"{CONFIG.endpoint}/acs", "telemetryEndpoint": f"{CONFIG.endpoint}/tcs"}
            case "SubmitTaskStateChange":
                self.accepted.append(params)
            case "PutLogEvents":
                lines = [each["message"] for each in params["logEvents"]]
                positions = self.positions.setdefault(params["logStreamName"], {})
                batch = repeats.stretch(params["sequenceToken"])
                assert batch is not None
                there = batch.there(positions.get(batch.writer, 0), len(lines))
                self.positions[params["logStreamName"]] = repeats.moved(positions, batch)
                self.log.setdefault(params["logStreamName"], []).extend(lines[there:])
        return {}

    async def metadata(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        if self.metadata_is_away:
            raise TransportError("no metadata service")
        if path == "/latest/api/token":
            assert method == "PUT" and headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
            self.tokens += 1
            self.valid_token = f"token-{self.tokens}"
            return 200, self.valid_token
        if headers.get("x-aws-ec2-metadata-token") != self.valid_token:
            return 401, "Unauthorized"
        if path.endswith(f"/security-credentials/{self.role}"):
            self.sessions += 1
        text = self._tree().get(path.removeprefix("/latest/"))
        return (200, text) if text is not None else (404, "Not Found")

    def _tree(self) -> dict[str, str]:
        tree = {
            "meta-data/instance-id": "i-0123456789abcdef0",
            "meta-data/mac": "02:00:00:00:00:01",
            "meta-data/network/interfaces/macs/02:00:00:00:00:01/vpc-id": "vpc-1",
            "dynamic/instance-identity/document": '{"instanceId":"i-0123456789abcdef0"}',
            "dynamic/instance-identity/signature": "signature",
        }
        if self.role is not None:
            ends = (self.clock.now() + timedelta(seconds=self.session_seconds)).astimezone(UTC)
            tree["meta-data/iam/security-credentials/"] = self.role
            tree[f"meta-data/iam/security-credentials/{self.role}"] = json.dumps(
                {
                    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": f"ASIA{self.sessions}",
                    "SecretAccessKey": "s", "Token": "t", "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
                }
            )  # fmt: skip
        return tree

    async def open_stream(
        self, url: str, service: str, credentials: Credentials, query: Mapping[str, str]
    ) -> ScriptedStream:
        stream = ScriptedStream(query)
        if url.endswith("/tcs/ws"):
            self.telemetry.append(stream)
            return stream
        assert url == f"{CONFIG.endpoint}/acs/ws"
        self.handshakes.append(asyncio.get_running_loop().time())
        if self.stream_faults:
            raise self.stream_faults.pop(0)
        self.streams.append(stream)
        return stream

    # What a test asks.

    def params(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params, _ in self.calls if name == operation]

    def reports(self, task: str = "t1") -> list[str]:
        """The statuses reported of a task, every attempt of a report."""
        sent = self.params("SubmitTaskStateChange")
        return [each["status"] for each in sent if each["task"] == task_arn(task)]

    def last_report(self, task: str = "t1") -> dict[str, Any]:
        return [each for each in self.params("SubmitTaskStateChange") if each["task"] == task_arn(task)][-1]


class Bench:
    """An agent, its server, and what outlives the agent."""

    def __init__(self, config: AgentConfig = CONFIG) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.server = ScriptedServer(self.clock)
        self.runtime = MemoryRuntime()
        self.shelf = MemoryShelf()
        self.config = config
        self.said: list[str] = []
        self.agent: asyncio.Task[None] | None = None
        self._ids = Ids(Counter())
        self._sequence = itertools.count(1)

    def start(self, config: AgentConfig | None = None) -> None:
        async def begun() -> asyncio.Task[None]:
            return asyncio.ensure_future(
                run(
                    config or self.config, self.server, self.runtime, self.shelf, self.clock, self._ids,
                    self.said.append,
                )
            )  # fmt: skip

        self.agent = self.loop.run_until_complete(begun())

    def joined(self) -> ScriptedStream:
        """Starts an agent; its stream."""
        count = len(self.server.streams)
        self.start()
        self.until(lambda: len(self.server.streams) > count)
        return self.stream

    @property
    def stream(self) -> ScriptedStream:
        return self.server.streams[-1]

    def kill(self) -> None:
        """The agent ends between two lines; containers go on."""
        assert self.agent is not None
        self.agent.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.agent)

    def ended(self, seconds: float = 7200.0) -> AgentEnded:
        """How the agent ended by itself."""
        assert self.agent is not None

        async def waited() -> None:
            assert self.agent is not None
            await asyncio.wait_for(asyncio.shield(self.agent), seconds)

        try:
            self.loop.run_until_complete(waited())
        except AgentEnded as ended:
            return ended
        raise AssertionError("the agent did not end")

    def until(self, holds: Callable[[], Any], seconds: float = 60.0) -> None:
        end = self.loop.time() + seconds
        while not holds():
            assert self.agent is None or not self.agent.done(), f"the agent ended: {self.agent}"
            assert self.loop.time() < end, f"not within {seconds} s; {self.said}"
            self.pass_time(0.01)

    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def pay(self, *tasks: dict[str, Any], message_id: str = "m1") -> None:
        self.stream.tell(
            "PayloadMessage", messageId=message_id, clusterArn=CLUSTER, containerInstanceArn=INSTANCE,
            generatedAt=1, seqNum=next(self._sequence), tasks=list(tasks),
        )  # fmt: skip

    def acknowledged(self) -> list[str]:
        return [each["messageId"] for stream in self.server.streams for each in stream.of("AckRequest")]

    def close(self) -> None:
        if self.agent is not None and not self.agent.done():
            self.kill()
        self.runtime.power_off()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def task_arn(name: str) -> str:
    return f"arn:aws:ecs:us-east-1:123456789012:task/demo/{name}"


def container(name: str = "main", *, log: dict[str, Any] | None = None, host: dict[str, Any] | None = None,
              **more: Any) -> dict[str, Any]:  # fmt: skip
    host_config: dict[str, Any] = {"NetworkMode": "host", **(host or {})}
    if log is not None:
        host_config["LogConfig"] = {"Type": "awslogs", "Config": {"awslogs-group": "/jobs", **log}}
    return {
        "name": name, "image": "busybox:local", "command": ["sh"], "entryPoint": None, "cpu": 128, "memory": 64,
        "essential": True, "environment": {}, "links": [], "volumesFrom": [], "portMappings": [], "mountPoints": [],
        "overrides": "{}", "containerArn": f"arn:aws:ecs:us-east-1:123456789012:container/demo/t/{name}",
        "dockerConfig": {"version": "1.18", "config": "{}", "hostConfig": json.dumps(host_config)},
        **more,
    }  # fmt: skip


def task(name: str = "t1", *containers: dict[str, Any], status: str = "RUNNING", **more: Any) -> dict[str, Any]:
    return {
        "arn": task_arn(name), "taskClusterArn": CLUSTER, "family": "fam", "version": "1", "desiredStatus": status,
        "group": "family:fam", "launchType": "EC2", "networkMode": "host", "overrides": "{}", "volumes": [],
        "containers": list(containers) or [container()], "associations": [], **more,
    }  # fmt: skip


def session(credentials_id: str = "c1", ends: str = "2026-01-01T06:00:00Z", key: str = "ASIATASK") -> dict[str, Any]:
    return {
        "credentialsId": credentials_id, "roleArn": "arn:aws:iam::123456789012:role/job", "accessKeyId": key,
        "secretAccessKey": "s", "sessionToken": "t", "expiration": ends,
    }  # fmt: skip


def refused(code: str) -> StreamRefused:
    return StreamRefused(code, "text")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)
