"""The databases of every landed revision: this code opens each, answers for everything in it as it was, and goes on from it.

They are made by `make_landed`, and stay as they are for ever.
"""

from __future__ import annotations

import json
import lzma
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from in_process import ACCOUNT, IDENTITY_KEY, REGION, ROOT, InProcessHouse, SeededEntropy
from longshore.aws.ids import Ids
from longshore.kit.sealing import IdentityDocuments, Sealer
from longshore.server.assemble import Assembly
from longshore.settings import Settings
from longshore.store import migrate
from longshore.store.engine import SqliteStore, open_store
from store.make_landed import FOLDER, present
from virtual_time import VirtualClock, VirtualLoop

LANDED = sorted(path.name.removesuffix(".sql.xz") for path in FOLDER.glob("*.sql.xz"))
# What older releases answered wrongly. ListEntitiesForPolicy left out whom a policy bounds, where no filter was given.
MENDED = frozenset({"iam ListEntitiesForPolicy"})


@pytest.fixture(params=LANDED)
def landed(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def told(landed: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(lzma.decompress((FOLDER / f"{landed}.json.xz").read_bytes()))
    return answers


def written_out(landed: str, path: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(lzma.decompress((FOLDER / f"{landed}.sql.xz").read_bytes()).decode())
    connection.close()
    return path


@pytest.fixture
def opened(landed: str, tmp_path: Path) -> Iterator[SqliteStore]:
    """As this code opens it; then in memory, where the false clock can turn it."""
    path = written_out(landed, tmp_path / "longshore.db")
    open_store(path).close()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    on_disk = sqlite3.connect(path)
    on_disk.backup(connection)
    on_disk.close()
    store = SqliteStore(connection, connection, durable=False)
    yield store
    store.close()


def test_this_revision_has_landed() -> None:
    assert str(migrate.REVISION) in LANDED, "run `python -m store.make_landed`, from the folder tests"


def test_its_tables_are_those_of_a_new_database(opened: SqliteStore, landed: str) -> None:
    """Whatever the order of columns, which steps of a migration can't choose."""
    fresh = open_store(None)
    expected, found = tables(fresh), tables(opened)
    fresh.close()
    for name in sorted(expected.keys() | found.keys()):
        assert found.get(name) == expected.get(name), (
            f"table {name} of landed database {landed} is not this code's: raise REVISION and add a change that makes it so"
        )


def tables(store: SqliteStore) -> dict[str, Any]:
    """name -> (columns, indices). Without the defaults of columns: a column that is added may need one, a new table has none."""

    def ask(pragma: str) -> list[Any]:
        return store._writer.execute(f"PRAGMA {pragma}").fetchall()

    def columns(table: str) -> set[Any]:
        return {(name, kind, notnull, key) for _, name, kind, notnull, _, key in ask(f"table_info({table})")}

    def indices(table: str) -> set[Any]:
        return {
            (name, unique, partial, tuple(each[2:] for each in ask(f"index_xinfo({name})")))
            for _, name, unique, _, partial in ask(f"index_list({table})")
        }

    return {name: (columns(name), indices(name)) for _, name, kind, *_ in ask("table_list") if kind == "table"}


@pytest.fixture
def assembly(opened: SqliteStore, told: dict[str, Any]) -> Iterator[Assembly]:
    """At the moment at which the database was left; its loops have not begun."""
    loop = VirtualLoop()
    yield Assembly(
        settings=Settings(account=ACCOUNT, region=REGION),
        store=opened,
        clock=VirtualClock(loop, datetime.fromisoformat(told["now"])),
        ids=Ids(SeededEntropy(2)),
        sealer=Sealer(bytes(32)),
        identity_documents=IdentityDocuments(IDENTITY_KEY),
        root_keys=ROOT,
    )
    loop.close()


def test_everything_in_it_is_answered_for_as_it_was(assembly: Assembly, told: dict[str, Any]) -> None:
    assert len(told["reads"]) > 100
    for read in told["reads"]:
        answer = present(assembly, read["service"], read["operation"], read["request"])
        where = f"{read['service']} {read['operation']} {read['request']}"
        if f"{read['service']} {read['operation']}" in MENDED:
            continue
        assert not list(differences(read["answer"], answer)), where


def differences(then: Any, now: Any, at: str = "") -> Iterator[str]:
    """Where an answer of now lacks something of then, or says it otherwise. It may say more."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name, value in then.items():
            if name.lower() == "nexttoken" and value and now.get(name):
                continue  # What a token says is nobody's business.
            yield from differences(value, now.get(name), f"{at}.{name}")
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from differences(one, other, f"{at}[{number}]")
    elif then != now:
        yield f"{at}: {then!r} became {now!r}"


@pytest.fixture
def house(opened: SqliteStore, told: dict[str, Any]) -> Iterator[InProcessHouse]:
    made = InProcessHouse(seed=2, store=opened, start=datetime.fromisoformat(told["now"]), machines="memory")
    yield made
    made.close()


def test_keys_of_then_are_good_now(house: InProcessHouse, told: dict[str, Any]) -> None:
    for given in (told["keys"]["user"], told["keys"]["session"]):
        assert house.client("sts", *given).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/crew/Ann"


def test_its_jobs_go_on(house: InProcessHouse) -> None:
    """The machines of then have gone, so what ran on them ends with them and is tried again; what waited still does."""
    batch = house.client("batch")
    listed = [
        each["jobId"]
        for state in ("PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
        for each in batch.list_jobs(jobQueue="harbour", jobStatus=state)["jobSummaryList"]
    ]

    def jobs() -> dict[str, Any]:
        return {each["jobName"]: each for each in batch.describe_jobs(jobs=listed)["jobs"]}

    # Nothing may wait behind the one that fits nowhere.
    batch.terminate_job(jobId=jobs()["RUNNABLE"]["jobId"], reason="make way")
    house.settle(lambda: jobs()["RUNNABLE"]["status"] == "FAILED")
    house.settle(lambda: jobs()["RUNNING"]["status"] == "RUNNING" and len(jobs()["RUNNING"]["attempts"]) == 1)
    found = jobs()
    assert found["RUNNING"]["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")
    ended = {"SUCCEEDED": "SUCCEEDED", "FAILED": "FAILED", "terminated": "FAILED"}
    # AWS cancels a job that waits for another when that one has ended.
    waiting = {"PENDING": "PENDING", "cancelled": "PENDING"}
    assert {name: found[name]["status"] for name in ended | waiting} == ended | waiting
    batch.terminate_job(jobId=found["RUNNING"]["jobId"], reason="enough")
    house.settle(lambda: all(jobs()[name]["status"] == "FAILED" for name in waiting))
    new = batch.submit_job(jobName="new", jobQueue="harbour", jobDefinition="work")["jobId"]
    house.settle(lambda: batch.describe_jobs(jobs=[new])["jobs"][0]["status"] == "SUCCEEDED")


def test_a_column_that_changes_without_a_step_is_noticed(opened: SqliteStore) -> None:
    fresh = open_store(None)
    fresh._writer.execute("ALTER TABLE batch_jobs ADD COLUMN planted INTEGER")
    assert tables(fresh)["batch_jobs"] != tables(opened)["batch_jobs"]
    fresh.close()


def test_an_answer_that_lost_something_is_noticed() -> None:
    then = {"jobs": [{"jobId": "a", "tags": {"x": "1"}}]}
    assert not list(
        differences(then, {"jobs": [{"jobId": "a", "tags": {"x": "1", "y": "2"}, "more": 1}], "next": None})
    )
    for now in (
        {},
        {"jobs": []},
        {"jobs": [{"jobId": "a", "tags": {}}]},
        {"jobs": [{"jobId": "b", "tags": {"x": "1"}}]},
    ):
        assert list(differences(then, now)), now
