"""A queue with a million jobs in it: does it still take, list, describe and start as an empty one does?

The jobs are submitted through the door, by 64 connections, to an environment without machines, so that all of them wait.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench import account, servers
from bench.load import Plan, Seen, send
from bench.requests import prepared
from bench.servers import Server

JOBS = 1_000_000
_PORTION = 50_000  # submitted with one set of signatures, which last five minutes
_CONNECTIONS = 64
_NAMES = 256
_IN_LINE_SECONDS = 3.0
_PAGE = 100


class Figure(Struct, frozen=True):
    """One line: what was measured, how it came out, and the most that it may be; or the least."""

    title: str
    value: float
    unit: str
    bar: float | None = None
    is_least: bool = False


def measure(folder: Path, count: int, say: Callable[[str], None]) -> list[Figure]:
    """Fills a queue of a server of its own with `count` jobs, and asks it what one would ask."""
    with servers.longshore(folder) as server:
        caller = account.make_caller(server)
        account.make_queue(server)
        _submit(
            server, caller, 2_000
        )  # Caches and pages of the database that come with the first jobs are no part of it.
        resident, on_disk = _resident(server.pid), _on_disk(server.state)
        first = _submit(server, caller, min(_PORTION, count))
        filled, last = min(_PORTION, count), first
        while filled < count:
            last = _submit(server, caller, min(_PORTION, count - filled))
            filled += min(_PORTION, count - filled)
            say(f"{filled:,} of {count:,} jobs are queued, {last.cpu_us:.0f} us of CPU each")
        _await_runnable(server)
        figures = [
            Figure("SubmitJob into an empty queue", first.cpu_us, "us of CPU", 200),
            Figure(f"SubmitJob behind {count:,} jobs", last.cpu_us, "us of CPU", first.cpu_us * 1.1),
            Figure("SubmitJob into an empty queue", first.answers / first.seconds, "a second"),
            Figure(f"SubmitJob behind {count:,} jobs", last.answers / last.seconds, "a second"),
            Figure("resident, each queued job", (_resident(server.pid) - resident) / filled, "bytes", 300),
            Figure("on disk, each queued job", (_on_disk(server.state) - on_disk) / filled, "bytes", 1.2 * 1024),
            *_reads(server),
        ]
    return [*figures, *_starts(folder, count)]


def _submit(server: Server, caller: account.Caller, count: int) -> Seen:
    jobs = [
        {"jobName": f"bench-{number}", "jobQueue": account.QUEUE, "jobDefinition": account.DEFINITION}
        for number in range(_NAMES)
    ]
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        requests=prepared(account.client(server, "batch", caller), "submit_job", jobs),
        connections=_CONNECTIONS,
        seconds=280,
        warm_up_seconds=0,
        pids=[server.pid],
        count=count,
    )
    seen = send(plan)
    if seen.refused:
        raise LookupError(f"{seen.refused} of {count} jobs were refused, the first with {seen.first_refusal}")
    return seen


def _await_runnable(server: Server) -> None:
    """Until the scheduler has looked at all of them, so that it does not stand in the way of what is measured."""
    batch = account.client(server, "batch")
    account.until(lambda: not batch.list_jobs(jobQueue=account.QUEUE, jobStatus="SUBMITTED")["jobSummaryList"], 600)


def _reads(server: Server) -> list[Figure]:
    batch = account.client(server, "batch")
    here = {"jobQueue": account.QUEUE}
    pages, token = [], None
    while len(pages) < _PAGE:  # 100 jobs each from 100 places of the queue
        page = batch.list_jobs(**here, jobStatus="RUNNABLE", **({"nextToken": token} if token else {}))
        pages.append([each["jobId"] for each in page["jobSummaryList"]])
        token = page.get("nextToken")
        if token is None:
            break
    known = [each for page in pages for each in page]
    chosen = random.Random(1).sample(known, min(_PAGE, len(known)))
    by_name = {"filters": [{"name": "JOB_NAME", "values": ["bench-7"]}]}
    nowhere = {"filters": [{"name": "JOB_NAME", "values": ["of-no-job"]}]}
    array = {"jobName": "array", "jobDefinition": account.DEFINITION, "arrayProperties": {"size": 10_000}, **here}
    asked: list[tuple[str, str, dict[str, Any], float | None]] = [
        ("ListJobs, a page of 100", "list_jobs", {**here, "jobStatus": "RUNNABLE", "maxResults": _PAGE}, 5),
        ("ListJobs, 100 of one name in 256", "list_jobs", {**here, **by_name, "maxResults": _PAGE}, None),
        ("ListJobs, a name that no job has", "list_jobs", {**here, **nowhere, "maxResults": _PAGE}, None),
        ("DescribeJobs of 100", "describe_jobs", {"jobs": chosen}, 3),
        ("SubmitJob of an array of 10,000", "submit_job", array, 20),
    ]
    figures = []
    for title, operation, parameters, bar in asked:
        plan = Plan(
            host="127.0.0.1",
            port=server.port,
            requests=prepared(batch, operation, [parameters]),
            connections=1,
            seconds=_IN_LINE_SECONDS,
            warm_up_seconds=0.5,
            pids=[server.pid],
        )
        seen = send(plan)
        if seen.refused or not seen.answers:
            raise LookupError(f"{title}: {seen.first_refusal or 'no answer'}")
        figures.append(Figure(title, seen.p50_ms, "ms", bar))
    return figures


def _starts(folder: Path, count: int) -> list[Figure]:
    begins = time.monotonic()
    with servers.longshore(folder) as server:
        ready = time.monotonic() - begins
        account.client(server, "batch").list_jobs(jobQueue=account.QUEUE, jobStatus="RUNNABLE")
        answers = time.monotonic() - begins
    return [
        Figure(f"from start to ready with {count:,} jobs queued", ready, "s", 10),
        Figure("until its first ListJobs is answered", answers, "s", 10),
    ]


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) * 1024


def _on_disk(state: Path) -> int:
    """What the tables of jobs take, with their indices: the record of calls beside them is bounded by its own setting."""
    with contextlib.closing(sqlite3.connect(f"file:{state / 'longshore.db'}?mode=ro", uri=True)) as database:
        return int(
            database.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'batch\\_%' ESCAPE '\\'").fetchone()[0]
        )
