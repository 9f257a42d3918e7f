"""No-op jobs end to end: SubmitJob until the last one has SUCCEEDED, on the pool that `longshore up` brings along."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import account, servers
from bench.containers import IMAGE, NotHere, Rate

_WARM_UP = 4
_SECONDS_MAX = 180
_DESCRIBED = 100  # jobs that one DescribeJobs takes


def rate(folder: Path, image: Path, machines: str, count: int) -> Rate:
    """How fast `count` jobs go through a warm pool. NotHere: Longshore can't do it yet, or not on this machine."""
    try:
        with servers.longshore(folder, "up", "--machines", machines) as server:
            if machines != "memory":
                _import(server, image)
            batch = account.client(server, "batch")
            queue = batch.describe_job_queues()["jobQueues"][0]["jobQueueName"]
            account.register_definition(batch, IMAGE)
            _run(batch, queue, _WARM_UP)
            return _run(batch, queue, count)
    except (servers.DidNotStart, *account.FAULTS, LookupError, TimeoutError) as error:
        raise NotHere(str(error)) from error


def _import(server: servers.Server, image: Path) -> None:
    line = [str(servers.ROOT / ".venv" / "bin" / "longshore"), "images", "import", IMAGE, str(image)]
    done = subprocess.run([*line, "--state", str(server.state)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise NotHere(f"`longshore images import`: {(done.stderr or done.stdout).strip()[-300:]}")


def _run(batch: Any, queue: str, count: int) -> Rate:
    """Times are the jobs' own: from the first one's createdAt to the last one's stoppedAt."""
    ids = [
        batch.submit_job(jobName=f"noop-{number}", jobQueue=queue, jobDefinition=account.DEFINITION)["jobId"]
        for number in range(count)
    ]
    end = time.monotonic() + _SECONDS_MAX
    waiting, ended = list(ids), []
    while waiting:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(waiting)} of {count} jobs have not ended within {_SECONDS_MAX} s")
        time.sleep(0.2)
        for start in range(0, len(waiting), _DESCRIBED):
            found = batch.describe_jobs(jobs=waiting[start : start + _DESCRIBED])["jobs"]
            ended += [job for job in found if job["status"] in ("SUCCEEDED", "FAILED")]
        done = {job["jobId"] for job in ended}
        waiting = [job_id for job_id in waiting if job_id not in done]
    failed = [job for job in ended if job["status"] == "FAILED"]
    if failed:
        raise LookupError(f"{len(failed)} of {count} jobs failed, the first: {failed[0].get('statusReason')}")
    spent = max(job["stoppedAt"] for job in ended) - min(job["createdAt"] for job in ended)
    each = statistics.median(job["stoppedAt"] - job["createdAt"] for job in ended)
    return Rate(count, spent / 1000, each)
