"""No-op jobs end to end: SubmitJob until the last one has SUCCEEDED, on the pool that `longshore up` brings along."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import account, servers
from bench.containers import IMAGE, NotHere, Rate
from bench.load import Plan, send
from bench.requests import prepared

# What the machine is said to offer: room for as many jobs at once as it can start, more than it has processors.
_OFFERED = {"local": ["--vcpus", "8"], "memory": ["--vcpus", "512", "--memory-mib", "1048576"]}
MORE = {"local": 1, "memory": 10}  # times as many jobs, where they are only played
_WARM_UP = 16
_SECONDS_MAX = 180


def rate(folder: Path, image: Path, machines: str, count: int) -> Rate:
    """How fast `count` jobs go through a warm pool. NotHere: Longshore can't do it yet, or not on this machine."""
    try:
        with servers.longshore(folder, "up", "--machines", machines, *_OFFERED[machines]) as server:
            if machines != "memory":
                bring_image(server, image)
            batch = account.client(server, "batch")
            queue = batch.describe_job_queues()["jobQueues"][0]["jobQueueName"]
            account.register_definition(batch, IMAGE)
            _run(server, batch, queue, "warm-up", _WARM_UP)
            return _run(server, batch, queue, "no-op", count)
    except (servers.DidNotStart, *account.FAULTS, LookupError, TimeoutError) as error:
        raise NotHere(str(error)) from error


def bring_image(server: servers.Server, image: Path) -> None:
    """NotHere: it could not be imported."""
    line = [str(servers.ROOT / ".venv" / "bin" / "longshore"), "images", "import", IMAGE, str(image)]
    done = subprocess.run([*line, "--state", str(server.state)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise NotHere(f"`longshore images import`: {(done.stderr or done.stdout).strip()[-300:]}")


def _run(server: servers.Server, batch: Any, queue: str, name: str, count: int) -> Rate:
    """Times are the jobs' own: from the first one's createdAt to the last one's stoppedAt."""
    job = {"jobName": name, "jobQueue": queue, "jobDefinition": account.DEFINITION}
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        requests=prepared(account.client(server, "batch"), "submit_job", [job]),
        connections=16,
        seconds=_SECONDS_MAX,
        warm_up_seconds=0,
        pids=[],
        count=count,
    )
    seen = send(plan)
    if seen.refused:
        raise LookupError(f"{seen.refused} of {count} jobs were refused, the first with {seen.first_refusal}")
    end = time.monotonic() + _SECONDS_MAX
    while len(ended := _listed(batch, queue, name, "SUCCEEDED")) < count:
        failed = _listed(batch, queue, name, "FAILED")
        if failed:
            raise LookupError(f"{len(failed)} of {count} jobs failed, the first: {failed[0].get('statusReason')}")
        if time.monotonic() > end:
            raise TimeoutError(f"{count - len(ended)} of {count} jobs have not ended within {_SECONDS_MAX} s")
        time.sleep(0.5)
    spent = max(job["stoppedAt"] for job in ended) - min(job["createdAt"] for job in ended)
    each = statistics.median(job["stoppedAt"] - job["createdAt"] for job in ended)
    return Rate(count, spent / 1000, each)


def _listed(batch: Any, queue: str, name: str, status: str) -> list[dict[str, Any]]:
    pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
    return [job for page in pages for job in page["jobSummaryList"] if job["jobName"] == name]
