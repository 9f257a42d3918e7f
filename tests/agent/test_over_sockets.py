"""The agent over real sockets: HTTP with kept connections, websockets, the metadata service, on the real clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import botocore.auth
import botocore.session
import pytest
import uvicorn
from botocore.config import Config

from longshore.agent.config import AgentConfig
from longshore.agent.main import run
from longshore.agent.runtimes.memory import MemoryRuntime
from longshore.agent.session import RESTART, AgentEnded
from longshore.agent.shelf import FolderShelf
from longshore.agent.transport import Credentials, HttpTransport, TransportError
from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids
from longshore.imds.app import create_app
from longshore.kit.sealing import IdentityDocuments, Sealer, new_identity_document_key
from longshore.server.assemble import Assembly
from longshore.server.keys import RootKeys
from longshore.server.run import _server
from longshore.services.ec2.machines.memory import MemoryMachines
from longshore.settings import Settings
from longshore.store.engine import open_store
from longshore.world import SystemClock, SystemEntropy

ROOT = RootKeys("AKIAROOTROOTROOTROOT", "a-secret-of-the-root-user-for-tests-only")
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


async def no_agent(*_: Any) -> None:
    await asyncio.Event().wait()


def bound() -> socket.socket:
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    return door


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Running:
    """A server with one instance, in a thread with its own loop; agents run there too, by their sockets only."""

    def __init__(self) -> None:
        self.door, self.metadata_door = bound(), bound()
        self.port, self.metadata_port = (door.getsockname()[1] for door in (self.door, self.metadata_door))
        self.instance_id = ""
        self._is_ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._is_ready.wait(20)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        store = open_store(None)
        self.assembly = Assembly(
            settings=Settings(port=self.port),
            store=store,
            clock=SystemClock(),
            ids=Ids(SystemEntropy()),
            sealer=Sealer(bytes(32)),
            identity_documents=IdentityDocuments(new_identity_document_key()),
            root_keys=ROOT,
        )
        self.assembly.use(MemoryMachines(self.assembly.house, no_agent))
        await self.assembly.start()
        metadata = create_app(self.assembly.house.ports["imds"], lambda scope: self.instance_id)
        beside = uvicorn.Config(
            metadata, loop="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )  # fmt: skip
        servers: list[uvicorn.Server] = [_server(self.assembly.gateway), _Quiet(beside)]
        serving = [
            asyncio.create_task(server.serve(sockets=[door]))
            for server, door in zip(servers, (self.door, self.metadata_door), strict=True)
        ]
        while not all(server.started for server in servers):
            await asyncio.sleep(0.005)
        self._is_ready.set()
        await self._end.wait()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        await self.assembly.close()
        store.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def client(self, service: str) -> Any:
        return botocore.session.get_session().create_client(
            service,
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=ROOT.access_key_id,
            aws_secret_access_key=ROOT.secret_access_key,
            config=Config(retries={"max_attempts": 0}),
        )

    def config(self, **more: Any) -> AgentConfig:
        return AgentConfig(
            endpoint=f"http://127.0.0.1:{self.port}", metadata=f"http://127.0.0.1:{self.metadata_port}",
            region="us-east-1", vcpus=2, memory_mib=4096, cluster="demo", **more,
        )  # fmt: skip

    def transport(self, config: AgentConfig) -> HttpTransport:
        return HttpTransport(
            endpoint=config.endpoint, metadata=config.metadata, region=config.region, clock=SystemClock()
        )


def until(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.005)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    # Tests on virtual time hand botocore their own.
    from datetime import UTC, datetime

    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda remove_tzinfo=True: datetime.now(UTC).replace(tzinfo=None if remove_tzinfo else UTC),
    )
    made = Running()
    yield made
    made.close()


class Agent:
    def __init__(self, running: Running, config: AgentConfig, runtime: MemoryRuntime, shelf: FolderShelf) -> None:
        self.said: list[str] = []
        self.transport = running.transport(config)
        self._running = running

        async def begun() -> asyncio.Task[None]:
            return asyncio.ensure_future(
                run(config, self.transport, runtime, shelf, SystemClock(), Ids(SystemEntropy()), self.said.append)
            )

        self.task: asyncio.Task[None] = running.do(begun())

    def kill(self) -> None:
        async def ended() -> None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            await self.transport.close()

        self._running.do(ended())


def prepared(running: Running, profile: str | None = "role") -> Any:
    """An instance with a role in cluster demo; the ECS client."""
    iam, ec2, ecs, logs = (running.client(each) for each in ("iam", "ec2", "ecs", "logs"))
    iam.create_role(RoleName="role", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_instance_profile(InstanceProfileName="role")
    iam.add_role_to_instance_profile(InstanceProfileName="role", RoleName="role")
    iam.attach_role_policy(RoleName="role", PolicyArn=POLICY)
    ecs.create_cluster(clusterName="demo")
    logs.create_log_group(logGroupName="/jobs")
    image = next(each for each in ec2.describe_images()["Images"] if each["Architecture"] == "x86_64")["ImageId"]
    more = {"IamInstanceProfile": {"Name": profile}} if profile else {}
    answer = ec2.run_instances(ImageId=image, InstanceType="m5.large", MinCount=1, MaxCount=1, **more)
    running.instance_id = answer["Instances"][0]["InstanceId"]
    return ecs


def test_a_task_runs_across_a_restart_of_its_agent(running: Running, tmp_path: Any) -> None:
    ecs = prepared(running)
    config = running.config(credentials_bind="127.0.0.1:0")
    runtime, shelf = MemoryRuntime(), FolderShelf(tmp_path)
    agent = Agent(running, config, runtime, shelf)

    def connected() -> Any:
        arns = ecs.list_container_instances(cluster="demo")["containerInstanceArns"]
        if not arns:
            return None
        (found,) = ecs.describe_container_instances(cluster="demo", containerInstances=arns)["containerInstances"]
        return found if found["agentConnected"] else None

    until(connected)
    log = {
        "logDriver": "awslogs",
        "options": {"awslogs-group": "/jobs", "awslogs-stream": "s", "awslogs-region": "us-east-1"},
    }
    ecs.register_task_definition(
        family="fam",
        networkMode="host",
        containerDefinitions=[
            {
                "name": "main", "image": "busybox", "memory": 64, "logConfiguration": log,
                "environment": [
                    {"name": "LONGSHORE_RUN_SECONDS", "value": "1"},
                    {"name": "LONGSHORE_EXIT_CODE", "value": "6"},
                    {"name": "LONGSHORE_LOG", "value": "grüße"},
                ],
            }
        ],
    )  # fmt: skip
    (started,) = ecs.run_task(cluster="demo", taskDefinition="fam")["tasks"]

    def task(status: str) -> Any:
        (found,) = ecs.describe_tasks(cluster="demo", tasks=[started["taskArn"]])["tasks"]
        return found if found["lastStatus"] == status else None

    until(lambda: task("RUNNING"))
    agent.kill()
    agent = Agent(running, config, runtime, shelf)
    assert until(lambda: task("STOPPED"))["containers"][0]["exitCode"] == 6
    events = running.client("logs").get_log_events(logGroupName="/jobs", logStreamName="s")["events"]
    assert [each["message"] for each in events] == ["grüße"]
    agent.kill()


def test_without_a_profile_it_ends_with_the_status_that_asks_for_a_new_start(running: Running, tmp_path: Any) -> None:
    prepared(running, profile=None)
    agent = Agent(running, running.config(), MemoryRuntime(), FolderShelf(tmp_path))
    until(agent.task.done)
    ended = agent.task.exception()
    assert isinstance(ended, AgentEnded) and ended.status == RESTART
    assert str(ended) == "NoCredentialProviders: no valid providers in chain. Deprecated."
    agent.kill()


def test_a_refused_handshake_tells_its_code_and_a_wrong_signature_is_an_error_of_aws(running: Running) -> None:
    config = running.config()
    transport = running.transport(config)
    nobody = Credentials(
        access_key_id="ASIAUNKNOWN", secret_access_key="x", session_token=None,
        expires_at=SystemClock().now(),
    )  # fmt: skip

    async def talk() -> tuple[str, str]:
        from longshore.agent.transport import StreamRefused

        codes = []
        try:
            await transport.open_stream(
                f"{config.endpoint}/acs/ws", "ecs", nobody, {"clusterArn": "demo", "containerInstanceArn": "x"}
            )
        except StreamRefused as refused:
            codes.append(refused.code)
        try:
            await transport.aws("ecs", "ListClusters", {}, nobody)
        except AwsError as error:
            codes.append(error.code)
        await transport.close()
        return codes[0], codes[1]

    assert running.do(talk()) == ("UnrecognizedClientException", "UnrecognizedClientException")


def test_nobody_at_the_other_end_is_no_answer() -> None:
    door = bound()
    port = door.getsockname()[1]
    door.close()
    transport = HttpTransport(
        endpoint=f"http://127.0.0.1:{port}", metadata=f"http://127.0.0.1:{port}", region="us-east-1",
        clock=SystemClock(),
    )  # fmt: skip

    async def ask() -> None:
        with pytest.raises(TransportError):
            await transport.metadata("GET", "/latest/meta-data/", {})
        with pytest.raises(TransportError):
            await transport.open_stream(
                f"http://127.0.0.1:{port}/acs/ws", "ecs",
                Credentials(
                    access_key_id="x", secret_access_key="x", session_token=None, expires_at=SystemClock().now()
                ),
                {},
            )  # fmt: skip

    asyncio.run(ask())
