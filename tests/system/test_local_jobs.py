"""Jobs in containers on machines of this host: what they see, what limits them, how they end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from system.chain import ASK, Chain
from system.running import wait_for


def test_a_job_succeeds_with_its_log_by_the_aws_command(local: Chain) -> None:
    def aws(*arguments: str) -> Any:
        done = local.server.aws(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    properties = {
        "image": "busybox",
        "command": ["sh", "-c", "echo 'Grüße aus' Ref::place; echo; printf 'no newline'"],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
    }
    defined = aws(
        *("batch", "register-job-definition", "--job-definition-name", "by-command", "--type", "container"),
        *("--parameters", "place=nowhere", "--container-properties", json.dumps(properties)),
    )
    assert defined["jobDefinitionArn"] == "arn:aws:batch:us-east-1:123456789012:job-definition/by-command:1"
    submitted = aws(
        *("batch", "submit-job", "--job-name", "by-command", "--job-queue", "default"),
        *("--job-definition", "by-command", "--parameters", "place=Longshore"),
    )
    local.ended(submitted["jobId"])
    job = aws("batch", "describe-jobs", "--jobs", submitted["jobId"])["jobs"][0]
    assert job["status"] == "SUCCEEDED"
    assert job["statusReason"] == "Essential container in task exited"
    assert job["container"]["exitCode"] == 0
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    stream = job["container"]["logStreamName"]
    assert stream.startswith("by-command/default/") and stream == job["attempts"][0]["container"]["logStreamName"]
    shown = aws("logs", "get-log-events", "--log-group-name", "/aws/batch/job", "--log-stream-name", stream)
    # What is empty is no event at AWS; a line without its end is one all the same.
    assert [event["message"] for event in shown["events"] if event["message"]] == ["Grüße aus Longshore", "no newline"]
    where = aws(
        *("ecs", "describe-container-instances", "--container-instances", job["container"]["containerInstanceArn"]),
        *("--cluster", job["container"]["containerInstanceArn"].split("/")[1]),
    )["containerInstances"][0]
    assert where["agentConnected"] and where["status"] == "ACTIVE"


def test_an_array_by_the_aws_command(local: Chain) -> None:
    """Each child knows its index, and has a log of its own."""

    def aws(*arguments: str) -> Any:
        done = local.server.aws(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    definition = local.define("echo child $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ID")
    submitted = aws(
        *("batch", "submit-job", "--job-name", "many", "--job-queue", "default", "--job-definition", definition),
        *("--array-properties", "size=3"),
    )
    parent = local.ended(submitted["jobId"])
    assert (parent["status"], parent["arrayProperties"]["statusSummary"]["SUCCEEDED"]) == ("SUCCEEDED", 3)
    listed = aws("batch", "list-jobs", "--array-job-id", submitted["jobId"], "--job-status", "SUCCEEDED")
    ids = [each["jobId"] for each in listed["jobSummaryList"]]
    assert ids == [f"{submitted['jobId']}:{index}" for index in range(3)]
    for index, child in enumerate(aws("batch", "describe-jobs", "--jobs", *ids)["jobs"]):
        assert local.lines(child) == [f"child {index} of {child['jobId']}"]
    assert local.explained(ids[2])["status"] == "SUCCEEDED"
    assert local.explained(submitted["jobId"])["reasons"] == ["its 3 children have ended (3 SUCCEEDED)"]


def test_what_a_job_finds_in_its_environment(local: Chain) -> None:
    job_id = local.submit(
        local.define("env; echo; busybox wget -qO- $ECS_CONTAINER_METADATA_URI_V4", environment=[_pair("A", "1")]),
        containerOverrides={"environment": [_pair("B", "two words")]},
    )
    job = local.ended(job_id)
    lines = local.lines(job)
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("{"))
    wanted = {
        "AWS_BATCH_JOB_ID": job_id,
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_CE_NAME": "default",
        "AWS_BATCH_JQ_NAME": "default",
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        "AWS_REGION": "us-east-1",
        "A": "1",
        "B": "two words",
    }
    assert {key: found.get(key) for key in wanted} == wanted
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in found
    # S3 and others, which are not ours, are not caught.
    assert "AWS_ENDPOINT_URL" not in found
    services = {key.removeprefix("AWS_ENDPOINT_URL_") for key in found if key.startswith("AWS_ENDPOINT_URL_")}
    assert services >= {"BATCH", "IAM", "STS", "EC2", "ECS", "CLOUDWATCH_LOGS"}
    described = json.loads(next(line for line in lines if line.startswith("{")))
    assert described["Name"] == "default" and described["LogDriver"] == "awslogs"
    assert described["LogOptions"]["awslogs-stream"] == job["container"]["logStreamName"]
    assert described["Labels"]["com.amazonaws.ecs.task-arn"] == job["container"]["taskArn"]


def test_a_job_reaches_the_services_and_the_host_and_has_its_instances_network(local: Chain) -> None:
    (health, address, name, *_) = local.says(
        "busybox wget -qO- $AWS_ENDPOINT_URL_BATCH/healthz\n"
        "ip -4 -o address show | grep -v ' lo ' | grep -o '172[0-9.]*' | head -n 1\n"
        "hostname\n"
        "grep -q host.longshore.internal /etc/hosts"
    )
    assert health == "ok"
    assert name == f"ip-{address.replace('.', '-')}.ec2.internal" or name == f"ip-{address.replace('.', '-')}"
    private = [each["PrivateIpAddress"] for one in _instances(local) for each in one if "PrivateIpAddress" in each]
    assert address in private


def test_user_and_read_only_root(local: Chain) -> None:
    assert local.says("id -u; id -g", user="worker") == ["1000", "1001"]
    assert local.says("touch /here || echo refused; echo", readonlyRootFilesystem=True)[-1].strip() == "refused"
    assert local.says("touch /here && echo made") == ["made"]


def test_memory_and_cpu_are_those_of_the_job(local: Chain) -> None:
    """As the container's control group has them, whichever kind of groups this host has."""
    read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true"
    sizes = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "96"}]
    assert local.says(read, resourceRequirements=sizes) == [str(96 * 1024 * 1024)]
    shares = local.says(
        "cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null; true", resourceRequirements=sizes
    )
    # v2 has weights from 1 to 10000, which runtimes reckon from shares in more than one way.
    assert shares == ["2048"] or 39 <= int(shares[0]) <= 200


def test_memory_exceeded_is_told_from_another_kill(local: Chain) -> None:
    eaten = local.run("x=a; while :; do x=$x$x; done")
    assert eaten["status"] == "FAILED"
    assert eaten["statusReason"] == "Essential container in task exited"
    assert eaten["container"]["exitCode"] == 137
    assert eaten["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    killed = local.run("sh -c 'kill -9 $$'; exit $?")
    assert killed["container"]["exitCode"] == 137 and "reason" not in killed["container"]


def test_host_volumes(local: Chain, shared: Path) -> None:
    """An absent one is made in the instance's root; a shared path is the host's; any other is the instance's own."""
    (shared / "given").write_text("of the host\n")
    own = Path("/var/tmp/longshore-instance-only")
    volumes = {"absent": "/srv/made/for/the/job", "shared": str(shared), "own": str(own)}

    def points(*read_only: str) -> dict[str, Any]:
        return {
            "volumes": [{"name": name, "host": {"sourcePath": path}} for name, path in volumes.items()],
            "mountPoints": [
                {"sourceVolume": name, "containerPath": f"/{name}", "readOnly": name in read_only} for name in volumes
            ],
        }

    script = "cat /shared/given; echo kept > /absent/file; echo written > /shared/by-the-job; echo mine > /own/file"
    assert local.says(script, **points()) == ["of the host"]
    assert (shared / "by-the-job").read_text() == "written\n"
    assert not own.exists() and not Path(volumes["absent"]).exists()
    # The same instance has it for the next job.
    refusal = "touch /shared/more 2>/dev/null || echo read-only"
    assert local.says(f"cat /absent/file /own/file; {refusal}", **points("shared")) == ["kept", "mine", "read-only"]


def test_of_the_host_a_job_sees_nothing(local: Chain, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    etc = {"volumes": [{"name": "v", "host": {"sourcePath": "/etc"}}], "mountPoints": [_mount("v", "/host")]}
    assert local.says("cat /host/shadow 2>/dev/null || echo none", **etc) == ["none"]
    state = {
        "volumes": [{"name": "v", "host": {"sourcePath": str(local.state)}}],
        "mountPoints": [_mount("v", "/host")],
    }
    assert local.says("ls -A /host; echo end", **state) == ["end"]
    assert (local.state / "longshore.db").exists()


@pytest.mark.parametrize("code", [1, 42, 255])
def test_an_exit_code_is_the_jobs(local: Chain, code: int) -> None:
    job = local.run(f"exit {code}")
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", code)
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [code]


def test_retries_as_evaluate_on_exit_says(local: Chain) -> None:
    script = "echo attempt $AWS_BATCH_JOB_ATTEMPT; exit $((4 - AWS_BATCH_JOB_ATTEMPT))"
    rules = [{"onExitCode": "1", "action": "EXIT"}, {"onStatusReason": "Essential*", "action": "RETRY"}]
    definition = local.define(script)
    job = local.ended(local.submit(definition, retryStrategy={"attempts": 10, "evaluateOnExit": rules}))
    assert job["status"] == "FAILED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [3, 2, 1]
    streams = [attempt["container"]["logStreamName"] for attempt in job["attempts"]]
    assert len(set(streams)) == 3
    assert local.lines(job) == ["attempt 3"]
    assert local.ended(local.submit(definition, retryStrategy={"attempts": 5}))["status"] == "SUCCEEDED"


def test_terminate_asks_the_job_to_end(local: Chain) -> None:
    job_id = local.submit(local.define("trap 'echo asked; exit 7' TERM; echo up; while :; do sleep 0.1; done"))
    local.until(job_id, "RUNNING")
    wait_for(lambda: local.lines(local.job(job_id)) == ["up"])
    local.batch.terminate_job(jobId=job_id, reason="No longer wanted")
    job = local.ended(job_id, 15)
    assert (job["status"], job["statusReason"]) == ("FAILED", "No longer wanted")
    assert job["container"]["exitCode"] == 7 and job["isTerminated"] and len(job["attempts"]) == 1
    assert local.lines(job) == ["up", "asked"]


@pytest.mark.long
def test_terminate_kills_a_job_that_does_not_end(local: Chain) -> None:
    """AWS waits for 30 seconds between the two signals. A shorter grace is tried where the agent's settings are ours."""
    job_id = local.submit(local.define("trap 'echo asked' TERM; echo up; while :; do sleep 0.1; done"))
    wait_for(lambda: local.job(job_id)["status"] == "RUNNING" and local.lines(local.job(job_id)) == ["up"])
    began = time.monotonic()
    local.batch.terminate_job(jobId=job_id, reason="No longer wanted")
    job = local.ended(job_id, 50)
    assert 29 < time.monotonic() - began < 45
    assert job["container"]["exitCode"] == 137 and len(job["attempts"]) == 1
    assert local.lines(job) == ["up", "asked"]


def test_cancel_ends_what_waits_and_not_what_runs(local: Chain) -> None:
    running = local.submit(local.define("echo up; sleep 2; echo done"))
    waiting = local.submit(local.define("echo never"), dependsOn=[{"jobId": running}])
    local.until(running, "RUNNING")
    local.until(waiting, "PENDING")
    for each in (running, waiting):
        local.batch.cancel_job(jobId=each, reason="Not that one")
    done = local.ended(running)
    assert done["status"] == "SUCCEEDED" and local.lines(done) == ["up", "done"]
    cancelled = local.ended(waiting)
    assert (cancelled["status"], cancelled["statusReason"]) == ("FAILED", "Not that one")
    assert "startedAt" not in cancelled and cancelled["attempts"] == []


def test_dependencies(local: Chain) -> None:
    fine, bad = local.submit(local.define("sleep 0.3")), local.submit(local.define("sleep 0.3; exit 1"))
    after = local.submit(local.define("true"), dependsOn=[{"jobId": fine}])
    never = local.submit(local.define("true"), dependsOn=[{"jobId": fine}, {"jobId": bad}])
    assert local.ended(after)["startedAt"] >= local.ended(fine)["stoppedAt"]
    failed = local.ended(never)
    assert (failed["status"], failed["attempts"]) == ("FAILED", [])
    assert failed["statusReason"].startswith("Dependent Job failed")


@pytest.mark.long
def test_a_job_that_lasts_too_long_is_stopped(local: Chain) -> None:
    """AWS's shortest limit is a minute, so this takes one."""
    definition = local.define("trap 'echo asked; exit 3' TERM; while :; do sleep 0.2; done")
    job = local.ended(local.submit(definition, timeout={"attemptDurationSeconds": 60}), 100)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert 59_000 <= job["stoppedAt"] - job["startedAt"] < 75_000
    assert local.lines(job) == ["asked"]


def test_an_image_that_is_not_there(local: Chain) -> None:
    began = time.monotonic()
    job = local.run("true", image="nowhere.invalid/there:is-none")
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in job["container"]
    assert time.monotonic() - began < 15


def test_a_command_that_is_not_there(local: Chain) -> None:
    job = local.run("true", command=["/no/such/program"])
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    reason = job["container"]["reason"]
    assert reason.startswith(("CannotStartContainerError: ", "CannotCreateContainerError: "))
    assert "/no/such/program" in reason


def test_a_job_larger_than_any_instance_waits_and_says_so(local: Chain) -> None:
    sizes = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "9000000"}]
    job_id = local.submit(local.define("true", resourceRequirements=sizes))
    try:
        job = local.when(job_id, lambda job: job.get("statusReason"))
        assert job["status"] == "RUNNABLE"
        text = (
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher "
            "than that can be met by the CE(s) attached to the job queue."
        )
        assert job["statusReason"].startswith(text)
        assert any("9000000" in reason for reason in local.explained(job_id)["reasons"])
        # A queue without a scheduling policy starts its jobs in their order.
        behind = local.submit(local.define("true"))
        local.until(behind, "RUNNABLE")
        assert any("1 job is before it" in reason for reason in local.explained(behind)["reasons"])
    finally:
        local.batch.cancel_job(jobId=job_id, reason="Enough")
    assert local.ended(job_id)["statusReason"] == "Enough"
    assert local.ended(behind)["status"] == "SUCCEEDED"


def test_an_image_that_comes_while_the_instance_is_up(local: Chain) -> None:
    assert local.run("true")["status"] == "SUCCEEDED"
    archive = str(local.state.parent / "busybox.tar")
    local.longshore("images", "import", "--state", str(local.state), "tools/late:1.2", archive)
    assert local.says("echo here", image="tools/late:1.2") == ["here"]
    local.longshore("images", "remove", "--state", str(local.state), "tools/late:1.2")
    gone = local.run("true", image="tools/late:1.2")
    assert gone["container"]["reason"].startswith("CannotPullContainerError: ")


def test_privileged_is_more_than_usual_and_less_than_the_host(local: Chain) -> None:
    mounts = "mkdir /m && mount -t tmpfs none /m 2>/dev/null && echo mounted || echo refused"
    assert local.says(mounts) == ["refused"]
    assert local.says(mounts, privileged=True) == ["mounted"]
    seen = local.says(
        "ls /proc | grep -c '^[0-9]'; ls /dev/sda /dev/vda /dev/nvme0n1 2>/dev/null; true", privileged=True
    )
    assert len(seen) == 1 and int(seen[0]) < 20


def test_long_and_many_lines_come_whole(local: Chain) -> None:
    lines = local.says("busybox seq 1 20000; busybox head -c 100000 /dev/zero | busybox tr '\\0' x")
    assert lines[:20000] == [str(number) for number in range(1, 20001)]
    assert "".join(lines[20000:]) == "x" * 100000


def test_metadata_of_another_task_is_not_there(local: Chain) -> None:
    answer = local.says(ASK + "ask GET 169.254.170.2 /v4/00000000-0000-4000-8000-000000000000 | head -n 1")
    assert "404" in answer[0]


def _pair(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def _mount(volume: str, path: str) -> dict[str, Any]:
    return {"sourceVolume": volume, "containerPath": path}


def _instances(local: Chain) -> list[list[dict[str, Any]]]:
    return [one["Instances"] for one in local.ec2.describe_instances()["Reservations"]]
