"""Machines for people without root: `memory` needs none, and `local` says what it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from system.chain import ENDED
from system.running import LONGSHORE, Server, wait_for

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "--inh-caps=-all")
# Root in name alone, for a Python that lies where nobody else may go.
POWERLESS = ("setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")


def as_nobody() -> tuple[str, ...] | None:
    """Words to put before a command so that somebody else runs it. None: that one can't read this checkout or its Python."""
    if os.geteuid() != 0:
        return ()
    tried = subprocess.run([*AS_NOBODY, sys.executable, "-c", "import longshore.server.run"], capture_output=True)
    return AS_NOBODY if tried.returncode == 0 else None


def without_rights() -> tuple[str, ...]:
    before = as_nobody()
    return POWERLESS if before is None else before


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state folder of somebody without rights. pytest's own folders are closed to them."""
    with tempfile.TemporaryDirectory() as above:
        made = Path(above) / "state"
        made.mkdir()
        if os.geteuid() == 0:
            Path(above).chmod(0o755)
            if as_nobody():
                os.chown(made, NOBODY, NOBODY)
        yield made


@pytest.fixture
def memory(folder: Path) -> Iterator[Server]:
    made = Server(folder, "--machines", "memory", "--for-tests", command="up", before=without_rights())
    yield made
    made.end()


def scripted(server: Server, image: str = "any", **environment: str) -> dict[str, Any]:
    """A job with these variables, after its end."""
    batch = server.client("batch")
    properties = {
        "image": image,
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
    }
    batch.register_job_definition(jobDefinitionName="scripted", type="container", containerProperties=properties)
    variables = [{"name": f"LONGSHORE_{name}", "value": value} for name, value in environment.items()]
    job_id = batch.submit_job(
        jobName="scripted", jobQueue="default", jobDefinition="scripted", retryStrategy={"attempts": 3},
        containerOverrides={"environment": variables},
    )["jobId"]  # fmt: skip

    def ended() -> dict[str, Any]:
        (job,) = batch.describe_jobs(jobs=[job_id])["jobs"]
        return dict(job) if job["status"] in ENDED else {}

    found: dict[str, Any] = wait_for(ended)
    return found


def test_without_any_rights_jobs_end_as_scripted(memory: Server) -> None:
    status = Path(f"/proc/{memory.process.pid}/status").read_text()
    assert "CapEff:\t0000000000000000\n" in status
    succeeded = scripted(memory, LOG="one\\ntwo")
    assert (succeeded["status"], succeeded["container"]["exitCode"]) == ("SUCCEEDED", 0)
    events = memory.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=succeeded["container"]["logStreamName"], startFromHead=True
    )["events"]
    assert [event["message"] for event in events] == ["one", "two"]
    third = scripted(memory, EXIT_CODE="5,4,0")
    assert third["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in third["attempts"]] == [5, 4, 0]
    failed = scripted(memory, EXIT_CODE="137", REASON="OutOfMemoryError: Container killed due to memory usage")
    assert (failed["status"], len(failed["attempts"]), failed["container"]["exitCode"]) == ("FAILED", 3, 137)
    assert failed["container"]["reason"].startswith("OutOfMemoryError")
    lasting = scripted(memory, RUN_SECONDS="0.4")
    assert 350 < lasting["stoppedAt"] - lasting["startedAt"] < 5000
    missing = scripted(memory, image="some:missing")
    assert missing["statusReason"] == "Task failed to start"
    assert missing["container"]["reason"].startswith("CannotPullContainerError: ")


def test_reset_with_a_job_running_takes_no_time_and_what_was_is_forgotten(memory: Server) -> None:
    batch = memory.client("batch")
    properties = {
        "image": "any",
        "vcpus": 1,
        "memory": 64,
        "environment": [{"name": "LONGSHORE_RUN_SECONDS", "value": "60"}],
    }
    batch.register_job_definition(jobDefinitionName="lasts", type="container", containerProperties=properties)
    job_id = batch.submit_job(jobName="lasts", jobQueue="default", jobDefinition="lasts")["jobId"]
    wait_for(lambda: batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] == "RUNNING")
    began = time.monotonic()
    with urllib.request.urlopen(urllib.request.Request(f"{memory.endpoint}/_longshore/reset", method="POST")) as answer:
        assert answer.status == 200
    assert time.monotonic() - began < 2
    assert batch.describe_jobs(jobs=[job_id])["jobs"] == []
    assert batch.describe_job_queues()["jobQueues"] == []
    assert memory.client("iam").list_instance_profiles()["InstanceProfiles"] == []


def test_what_was_running_when_a_server_was_killed_comes_to_an_end(folder: Path) -> None:
    server = Server(folder, "--machines", "memory", command="up", before=without_rights())
    done = scripted(server, EXIT_CODE="0")
    batch = server.client("batch")
    variables = [{"name": "LONGSHORE_RUN_SECONDS", "value": "30"}]
    job_id = batch.submit_job(
        jobName="lasts", jobQueue="default", jobDefinition="scripted", containerOverrides={"environment": variables}
    )["jobId"]
    wait_for(lambda: batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] == "RUNNING")
    server.kill()
    again = Server(folder, "--machines", "memory", command="up", before=without_rights())
    try:
        batch = again.client("batch")
        kept = batch.describe_jobs(jobs=[done["jobId"]])["jobs"][0]
        assert (kept["status"], kept["attempts"]) == (done["status"], done["attempts"])
        # Its instance was in the server's own process.
        ended = wait_for(lambda: (job := batch.describe_jobs(jobs=[job_id])["jobs"][0])["status"] == "FAILED" and job)
        assert ended["statusReason"].startswith("Host EC2 (instance i-") and len(ended["attempts"]) == 1
        assert scripted(again, EXIT_CODE="0")["status"] == "SUCCEEDED"
    finally:
        assert again.end() == 0


def test_local_machines_without_rights_say_what_is_missing_how_to_get_it_and_what_works(folder: Path) -> None:
    """No sudo either, or one that does not let this user in."""
    before = as_nobody()
    if before is None:
        pytest.skip("somebody without rights can't read this checkout or its Python")
    done = subprocess.run(
        [*before, *LONGSHORE, "up", "--machines", "local", "--port", "0", "--state", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": "/nowhere"} if not before else dict(os.environ),
    )
    assert done.returncode != 0 and "ready" not in done.stdout
    said = done.stderr.strip()
    assert "root" in said and "sudo" in said and "--machines memory" in said
    assert "Traceback" not in said
    # A line for people, not an object for programs.
    with pytest.raises(json.JSONDecodeError):
        json.loads(said.splitlines()[-1])
