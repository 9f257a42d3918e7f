"""Measures Longshore beside moto, MiniStack, `crun run` and `docker run`, alternately, and prints one table.

Reads and writes: signed requests over kept-alive connections, three rounds, each server after the other in each round,
the median of the rounds. Jobs: no-op containers end to end beside bare containers on the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bench import account, containers, jobs, million, placements, servers, sustained, trail
from bench.load import Plan, Seen, send
from bench.requests import prepared
from bench.servers import Server

_SCRATCH = "/var/tmp"  # On disk, where /tmp may be memory: the point is to pay for durability.


class Load(Struct, frozen=True):
    """One row of the table. `bars`: peer -> how many times its requests a second; `cpu_us_max` per request."""

    title: str
    service: str
    operation: str
    parameters: list[dict[str, Any]]
    connections: int
    needs_queue: bool
    bars: dict[str, float]
    cpu_us_max: float


LOADS = (
    Load("sts GetCallerIdentity", "sts", "get_caller_identity", [{}] * 16, 8, False, {"moto": 10, "MiniStack": 3}, 200),
    Load("iam GetRole", "iam", "get_role", [{"RoleName": account.ROLE}] * 16, 8, False, {"moto": 10, "MiniStack": 3}, 200),
    Load(
        "batch SubmitJob",
        "batch",
        "submit_job",
        [
            {"jobName": f"bench-{number}", "jobQueue": account.QUEUE, "jobDefinition": account.DEFINITION}
            for number in range(256)
        ],
        64,
        True,
        {"moto": 10, "MiniStack": 2},
        200,
    ),
)  # fmt: skip


class Options(Struct, frozen=True):
    rounds: int
    seconds: float
    warm_up_seconds: float
    jobs: int
    queued: int
    minutes: int
    machines: str
    only: str
    json_file: str


class Subject(Struct, frozen=True):
    """A server that is measured. `missing`: title of a row -> why there is none."""

    server: Server
    caller: account.Caller
    missing: dict[str, str]


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, load_average = datetime.now(UTC), os.getloadavg()
    # On the same file system as a state folder would be, and gone at the end.
    folder = Path(tempfile.mkdtemp(prefix="longshore-bench.", dir=_SCRATCH))
    try:
        loads = _measure_loads(options, folder) if options.only in ("", "requests") else []
        ends = _measure_jobs(options, folder) if options.only in ("", "jobs") else []
        recorded = _measure_trail(options, folder) if options.only in ("", "trail") else []
        placed = _measure_placements(options, folder) if options.only in ("", "placements") else []
        queued = _measure_million(options, folder) if options.only in ("", "million") else []
        minutes = _measure_minutes(options, folder) if options.only in ("", "sustained") else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = {
        "date": began.isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": load_average,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    _print(about, loads, ends)
    _print_figures(recorded)
    _print_figures(placed)
    _print_figures(queued)
    _print_figures(minutes)
    if options.json_file:
        Path(options.json_file).write_text(
            json.dumps(
                {
                    **about,
                    "requests": loads,
                    "jobs": ends,
                    "trail": recorded,
                    "placements": placed,
                    "million": queued,
                    "sustained": minutes,
                },
                indent=1,
            )
            + "\n"
        )
    return 1 if any(row.get("failed") for row in [*loads, *ends, *recorded, *placed, *queued, *minutes]) else 0


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, says little")
    parser.add_argument(
        "--only",
        choices=("requests", "jobs", "trail", "placements", "million", "sustained"),
        default="",
        help="one part of it",
    )
    parser.add_argument("--machines", choices=("local", "memory"), default="local", help="what the jobs run on")
    parser.add_argument("--queued", type=int, default=million.JOBS, help="how many jobs wait in the full queue")
    parser.add_argument("--minutes", type=int, default=5, help="for how long no-op containers are run on end")
    parser.add_argument("--json", default="", metavar="FILE", help="write the figures there too")
    given = parser.parse_args()
    if given.quick:
        return Options(1, 1.0, 0.3, 8, 5_000, 1, given.machines, given.only, given.json)
    return Options(3, 4.0, 1.0, 200, given.queued, given.minutes, given.machines, given.only, given.json)


# -- requests


def _measure_loads(options: Options, folder: Path) -> list[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        subjects = [
            _subject(stack.enter_context(start(folder)))
            for start in (servers.longshore, servers.moto, servers.ministack)
        ]
        rows: list[dict[str, Any]] = []
        for load in LOADS:
            seen: dict[str, list[Seen]] = {subject.server.name: [] for subject in subjects}
            for number in range(options.rounds):
                for subject in subjects:
                    if load.title in subject.missing:
                        continue
                    _say(f"{load.title}, round {number + 1} of {options.rounds}: {subject.server.name}")
                    seen[subject.server.name].append(_send(load, subject, options))
            rows += _rows(load, subjects, seen)
        return rows


def _subject(server: Server) -> Subject:
    caller = account.make_caller(server)
    missing: dict[str, str] = {}
    try:
        account.make_queue(server)
    except (*account.FAULTS, LookupError, TimeoutError) as error:
        missing |= {load.title: str(error) for load in LOADS if load.needs_queue}
    return Subject(server, caller, missing)


def _send(load: Load, subject: Subject, options: Options) -> Seen:
    server = subject.server
    # Signed anew for each round: a signature lasts five minutes.
    client = account.client(server, load.service, subject.caller)
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        requests=prepared(client, load.operation, load.parameters),
        connections=load.connections,
        seconds=options.seconds,
        warm_up_seconds=options.warm_up_seconds,
        pids=[server.pid],
    )
    return send(plan)


def _rows(load: Load, subjects: list[Subject], seen: dict[str, list[Seen]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for subject in subjects:
        name = subject.server.name
        row: dict[str, Any] = {"title": load.title, "connections": load.connections, "server": name}
        rows.append(row)
        rounds = seen[name]
        if not rounds:
            row["missing"] = subject.missing[load.title]
            continue

        def median(what: Callable[[Seen], float], rounds: list[Seen] = rounds) -> float:
            return statistics.median(what(each) for each in rounds)

        row |= {
            "per_second": median(lambda each: each.answers / each.seconds),
            "p50_ms": median(lambda each: each.p50_ms),
            "p99_ms": median(lambda each: each.p99_ms),
            "cpu_us": median(lambda each: each.cpu_us),
            "client_cpu_share": median(lambda each: each.client_cpu_share),
            "refused": sum(each.refused for each in rounds),
        }
        if row["refused"] or not row["per_second"]:
            row["failed"] = next((each.first_refusal for each in rounds if each.refused), "no answer at all")
    ours = rows[0]
    for row in rows[1:]:
        if row.get("per_second") and ours.get("per_second"):
            # Alternately measured, so a round is compared with its own neighbour.
            pairs = zip(seen[ours["server"]], seen[row["server"]], strict=True)
            row["times"] = statistics.median(
                (mine.answers / mine.seconds) / (theirs.answers / theirs.seconds) for mine, theirs in pairs
            )
            # On a busy machine requests a second are shares of it; CPU time is a server's own.
            row["cpu_times"] = row["cpu_us"] / ours["cpu_us"]
            if row["server"] in load.bars:
                row["bar"] = load.bars[row["server"]]
    if "cpu_us" in ours:
        ours["cpu_us_max"] = load.cpu_us_max
    return rows


# -- jobs


def _measure_jobs(options: Options, folder: Path) -> list[dict[str, Any]]:
    _say("no-op jobs")
    image = containers.make_image(folder)
    measured: list[tuple[str, Callable[[], containers.Rate]]] = [
        (
            f"longshore up --machines {options.machines}",
            lambda: jobs.rate(folder, image, options.machines, options.jobs * jobs.MORE[options.machines]),
        ),
        ("crun run, one after another", lambda: containers.crun(folder, image, 1, max(8, options.jobs // 4))),
        ("crun run, 4 at a time", lambda: containers.crun(folder, image, 4, max(8, options.jobs // 2))),
        ("docker run, one after another", lambda: containers.docker(image, 1, max(4, options.jobs // 20))),
        ("docker run, 4 at a time", lambda: containers.docker(image, 4, max(4, options.jobs // 10))),
    ]
    rows: list[dict[str, Any]] = []
    for title, measure in measured:
        row: dict[str, Any] = {"title": "no-op containers", "server": title}
        rows.append(row)
        _say(f"no-op containers: {title}")
        try:
            rate = measure()
        except containers.NotHere as reason:
            row["missing"] = str(reason)
            continue
        row |= {"count": rate.count, "per_second": rate.count / rate.seconds, "p50_ms": rate.p50_ms}
    for row in rows[1:]:
        if row.get("per_second") and rows[0].get("per_second"):
            row["times"] = rows[0]["per_second"] / row["per_second"]
    return rows


# -- the record of calls


def _measure_trail(options: Options, folder: Path) -> list[dict[str, Any]]:
    own = folder / "trail"
    own.mkdir()
    rounds = max(options.rounds, trail.ROUNDS_AT_LEAST) if options.rounds > 1 else 1
    try:
        found = trail.measure(own, rounds, options.seconds / 2, options.warm_up_seconds, _say)
    except (servers.DidNotStart, *account.FAULTS, LookupError, TimeoutError) as error:
        return [{"title": "the record of calls", "failed": str(error)}]
    return [msgspec.to_builtins(each) for each in found]


# -- placements


def _measure_placements(options: Options, folder: Path) -> list[dict[str, Any]]:
    count = min(options.queued, placements.JOBS)
    _say(f"{count:,} placements")
    own = folder / "placements"
    own.mkdir()
    try:
        return [msgspec.to_builtins(each) for each in placements.measure(own, count, _say)]
    except (servers.DidNotStart, *account.FAULTS, LookupError, TimeoutError) as error:
        return [{"title": f"{count:,} placements", "failed": str(error)}]


# -- a million jobs


def _measure_million(options: Options, folder: Path) -> list[dict[str, Any]]:
    _say(f"a queue of {options.queued:,} jobs")
    try:
        return [msgspec.to_builtins(each) for each in million.measure(folder, options.queued, _say)]
    except (servers.DidNotStart, *account.FAULTS, LookupError, TimeoutError) as error:
        return [{"title": f"a queue of {options.queued:,} jobs", "failed": str(error)}]


# -- minutes on end


def _measure_minutes(options: Options, folder: Path) -> list[dict[str, Any]]:
    _say(f"no-op containers for {options.minutes} min")
    try:
        image = containers.make_image(folder / "sustained")
        return [
            msgspec.to_builtins(each) for each in sustained.measure(folder / "sustained", image, options.minutes, _say)
        ]
    except (containers.NotHere, servers.DidNotStart, *account.FAULTS, LookupError, TimeoutError) as error:
        return [{"title": f"no-op containers for {options.minutes} min", "failed": str(error)}]


# -- the table


def _print(about: dict[str, Any], loads: list[dict[str, Any]], ends: list[dict[str, Any]]) -> None:
    print(f"{about['date']}, {about['machine']}, Python {about['python']}")
    print(f"load average {about['load_average'][0]:.1f} before, {os.getloadavg()[0]:.1f} after")
    print(
        f"{about['rounds']} round(s) of {about['seconds']:g} s each, alternately; medians; signatures and policies on\n"
    )
    if loads:
        print(f"{'':24}{'':12}{'conn.':>6}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}   Longshore is")
    for row in loads:
        print(_load_line(row))
    if ends:
        print(f"\n{'no-op containers':36}{'count':>6}{'a second':>12}{'p50 ms':>9}{'':18}   Longshore is")
    for row in ends:
        print(_job_line(row))
    for row in [*loads, *ends]:
        if "missing" in row:
            print(f"\nnot yet: {row['server']}, {row['title']}: {row['missing']}")
        if "failed" in row:
            print(
                f"\nFAILED: {row['server']}, {row['title']}: {row['refused']} refused, the first with {row['failed']}"
            )


def _print_figures(figures: list[dict[str, Any]]) -> None:
    for figure in figures:
        if "failed" in figure:
            print(f"\nFAILED: {figure['title']}: {figure['failed']}")
            continue
        verdict = ""
        if figure["bar"] is not None:
            is_held = figure["value"] >= figure["bar"] if figure["is_least"] else figure["value"] <= figure["bar"]
            held = "held" if is_held else "MISSED"
            verdict = f"   (bar: {figure['bar']:,.0f} {figure['unit']}, {held})"
        print(f"{figure['title']:48}{figure['value']:12,.2f} {figure['unit']:10}{verdict}".rstrip())


def _load_line(row: dict[str, Any]) -> str:
    start = f"{row['title']:24}{row['server']:12}{row['connections']:6}"
    if "missing" in row:
        return f"{start}{'not yet':>12}"
    figures = f"{row['per_second']:12,.0f}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}{row['cpu_us']:9.0f}"
    return f"{start}{figures}   {_verdict(row)}"


def _job_line(row: dict[str, Any]) -> str:
    if "missing" in row:
        return f"{row['server']:36}{'':6}{'not yet':>12}"
    figures = f"{row['count']:6}{row['per_second']:12.1f}{row['p50_ms']:9.1f}"
    return f"{row['server']:36}{figures}{'':18}   {_verdict(row)}".rstrip()


def _verdict(row: dict[str, Any]) -> str:
    if "cpu_us_max" in row:
        held = row["cpu_us"] <= row["cpu_us_max"]
        return f"(bar: {row['cpu_us_max']:.0f} us of CPU, {'held' if held else 'MISSED'})"
    if "times" not in row:
        return ""
    text = f"{row['times']:.1f} x as fast"
    if "bar" in row:
        text += f" (bar: {row['bar']:g} x, {'held' if row['times'] >= row['bar'] else 'MISSED'})"
    if "cpu_times" in row:
        text += f", {row['cpu_times']:.1f} x less CPU"
    return text


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.machine()


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
