"""The agent over real sockets: HTTP with kept connections, websockets, the metadata service, on the real clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.over_sockets import Running, bound, prepared, until
from longshore.agent.config import AgentConfig
from longshore.agent.main import run
from longshore.agent.runtimes.memory import MemoryRuntime
from longshore.agent.session import RESTART, AgentEnded
from longshore.agent.shelf import JournalShelf
from longshore.agent.transport import Credentials, HttpTransport, TransportError
from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids
from longshore.world import SystemClock, SystemEntropy


class Agent:
    def __init__(self, running: Running, config: AgentConfig, runtime: MemoryRuntime, shelf: JournalShelf) -> None:
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


def test_a_task_runs_across_a_restart_of_its_agent(running: Running, tmp_path: Any) -> None:
    ecs = prepared(running)
    config = running.config(credentials_bind="127.0.0.1:0")
    runtime, shelf = MemoryRuntime(), JournalShelf(tmp_path)
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
    agent = Agent(running, running.config(), MemoryRuntime(), JournalShelf(tmp_path))
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
