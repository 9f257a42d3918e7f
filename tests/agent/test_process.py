"""The agent as its own process, with real containers; see crun_scenarios.py for where they run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.over_sockets import Running, prepared, until
from crun_scenarios import busybox_archive, why_not

GROUP = f"/longshore-test-agent-{os.getpid()}"

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


class Process:
    """One life of the agent."""

    def __init__(self, running: Running, folder: Path) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "LONGSHORE_ENDPOINT": f"http://127.0.0.1:{running.port}",
            "LONGSHORE_METADATA": f"http://127.0.0.1:{running.metadata_port}",
            "LONGSHORE_INSTANCE_VCPUS": "2",
            "LONGSHORE_INSTANCE_MEMORY_MIB": "4096",
            "LONGSHORE_AGENT_DATA": str(folder / "data"),
            "LONGSHORE_IMAGES": str(folder / "store"),
            "LONGSHORE_CREDENTIALS_BIND": "127.0.0.1:0",
            "LONGSHORE_CGROUP": GROUP,
            "ECS_CLUSTER": "demo",
        }
        script = 'if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec "$@"'
        self.said: list[str] = []
        self._process = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-W", "error", "-m",
             "longshore.agent.main"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        status = self._process.wait(20)
        self._reading.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    from longshore.host.images import ImageStore

    ImageStore(tmp_path / "store").import_file("busybox", busybox_archive(tmp_path / "busybox.tar"))
    yield tmp_path
    # Groups of a test that failed; after one that did not there are none.
    for found in Path("/sys/fs/cgroup").glob(f"*{GROUP}"):
        for inner in sorted((each for each in found.rglob("*") if each.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                inner.rmdir()
        with contextlib.suppress(OSError):
            found.rmdir()


class Cluster:
    def __init__(self, running: Running) -> None:
        self.ecs = prepared(running)
        self.logs = running.client("logs")

    def instance(self) -> Any:
        arns = self.ecs.list_container_instances(cluster="demo")["containerInstanceArns"]
        if not arns:
            return None
        (found,) = self.ecs.describe_container_instances(cluster="demo", containerInstances=arns)["containerInstances"]
        return found if found["agentConnected"] else None

    def run(self, script: str, volumes: Any = (), **more: Any) -> str:
        log = {
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/jobs", "awslogs-stream-prefix": "s", "awslogs-region": "us-east-1"},
        }
        container = {
            "name": "main", "image": "busybox", "command": ["sh", "-c", script], "memory": 64, "logConfiguration": log,
            **more,
        }  # fmt: skip
        self.ecs.register_task_definition(
            family="fam", networkMode="host", containerDefinitions=[container], volumes=list(volumes)
        )
        (started,) = self.ecs.run_task(cluster="demo", taskDefinition="fam")["tasks"]
        return str(started["taskArn"])

    def task(self, arn: str, status: str) -> Any:
        (found,) = self.ecs.describe_tasks(cluster="demo", tasks=[arn])["tasks"]
        return found if found["lastStatus"] == status else None

    def log(self, arn: str) -> list[str]:
        stream = f"s/main/{arn.rpartition('/')[2]}"
        events = self.logs.get_log_events(logGroupName="/jobs", logStreamName=stream, startFromHead=True)["events"]
        return [each["message"] for each in events]


def test_a_container_runs_and_its_log_is_there_when_it_has_ended(running: Running, folder: Path) -> None:
    cluster = Cluster(running)
    agent = Process(running, folder)
    until(cluster.instance)
    arn = cluster.run("echo hello; echo $A >&2; exit 3", environment=[{"name": "A", "value": "grüße"}])
    task = until(lambda: cluster.task(arn, "STOPPED"))
    assert task["containers"][0]["exitCode"] == 3, (task, agent.said)
    assert cluster.log(arn) == ["hello", "grüße"]
    absent = cluster.run("x", command=["/nope"])
    reason = until(lambda: cluster.task(absent, "STOPPED"))["containers"][0]["reason"]
    assert reason.startswith("CannotStartContainerError: ") and "/nope" in reason
    assert agent.end() == 0
    assert not any("Traceback" in line for line in agent.said), "".join(agent.said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_container_goes_on_without_its_agent(running: Running, folder: Path, number: signal.Signals) -> None:
    cluster = Cluster(running)
    agent = Process(running, folder)
    until(cluster.instance)
    arn = cluster.run(
        "echo before; while [ ! -e /gate/open ]; do sleep 0.05; done; echo after; exit 6",
        volumes=[{"name": "gate", "host": {"sourcePath": str(folder / "gate")}}],
        mountPoints=[{"sourceVolume": "gate", "containerPath": "/gate"}],
    )
    until(lambda: cluster.task(arn, "RUNNING"))
    until(lambda: cluster.log(arn) == ["before"])
    agent.end(number)
    (folder / "gate/open").touch()
    agent = Process(running, folder)
    task = until(lambda: cluster.task(arn, "STOPPED"))
    assert task["containers"][0]["exitCode"] == 6, (task, agent.said)
    assert cluster.log(arn) == ["before", "after"]
    assert agent.end() == 0


def test_settings_that_can_not_be_read_end_it_for_good(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "longshore.agent.main"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.returncode == 5
    assert "LONGSHORE_ENDPOINT" in done.stdout
