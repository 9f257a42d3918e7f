"""A server with one instance on real sockets, whose agent the test starts."""

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
import uvicorn
from botocore.config import Config

from longshore.agent.config import AgentConfig
from longshore.agent.transport import HttpTransport
from longshore.aws.ids import Ids
from longshore.gateway.door import Door
from longshore.imds.app import create_app
from longshore.kit.sealing import IdentityDocuments, Sealer, new_identity_document_key
from longshore.server.assemble import Assembly
from longshore.server.keys import RootKeys
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
        servers = [
            _Quiet(
                uvicorn.Config(
                    app, loop="none", http=http, ws="websockets-sansio", lifespan="off", log_config=None,
                    timeout_graceful_shutdown=1,
                )
            )
            for app, http in ((self.assembly.gateway, Door), (metadata, "httptools"))
        ]  # fmt: skip
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
        for door in (self.door, self.metadata_door):
            door.close()

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
