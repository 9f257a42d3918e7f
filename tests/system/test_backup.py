"""Backups are taken while a server works, and another folder goes on from them; what is no whole backup changes nothing."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longshore.server.backup import BackupError, back_up, restore
from longshore.store import migrate
from system.running import LONGSHORE, Server, wait_for

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}],
    }
)
NAMES = {"longshore.db", "sealing.key", "identity-document-key.pem", "root-credentials.json"}


def longshore(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LONGSHORE, *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Load:
    """Clients that make roles as fast as they can."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: list[str] = []
        self.faults: list[Exception] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._make, args=(server, each)) for each in range(3)]
        for thread in self._threads:
            thread.start()

    def _make(self, server: Server, which: int) -> None:
        iam = server.client("iam")
        number = 0
        try:
            while not self._is_over.is_set():
                name = f"role-{which}-{number}"
                iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
                self.acknowledged.append(name)
                number += 1
        except Exception as fault:
            self.faults.append(fault)

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a server that has ended, with a user in it."""
    state = tmp_path_factory.mktemp("backup") / "state"
    server = Server(state)
    server.client("iam").create_user(UserName="Ann")
    assert server.end() == 0
    return state


@pytest.fixture(scope="module")
def backup(stopped: Path) -> Path:
    file = stopped.parent / "a-backup"
    back_up(stopped, file)
    return file


def test_a_backup_under_load_has_all_that_was_acknowledged_before_and_serves_elsewhere(tmp_path: Path) -> None:
    server = Server(tmp_path / "state", "--iam-quota", "RolesPerAccount=1000000")
    iam = server.client("iam")
    iam.create_user(UserName="Ann")
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="Ann", PolicyName="sts", PolicyDocument=json.dumps(allowed))
    key = iam.create_access_key(UserName="Ann")["AccessKey"]
    ann = server.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
    session = ann.get_session_token()["Credentials"]
    load = Load(server)
    try:
        wait_for(lambda: len(load.acknowledged) >= 50)
        before = list(load.acknowledged)
        shown = longshore("backup", tmp_path / "backup", "--state", server.state)
        assert shown.returncode == 0, shown.stderr
        after = len(load.acknowledged)
        wait_for(lambda: len(load.acknowledged) >= after + 20)  # It goes on.
    finally:
        load.end()
    assert not load.faults
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    assert server.end() == 0
    (tmp_path / "hidden").mkdir()
    shutil.move(server.state, tmp_path / "hidden")  # What is answered now comes from the backup alone.

    shown = longshore("restore", tmp_path / "backup", "--state", tmp_path / "elsewhere")
    assert shown.returncode == 0, shown.stderr
    again = Server(tmp_path / "elsewhere")
    try:
        pages = again.client("iam").get_paginator("list_roles").paginate()
        names = {role["RoleName"] for page in pages for role in page["Roles"]}
        assert set(before) <= names <= set(load.acknowledged) | {f"role-{which}-{len(names)}" for which in range(3)}
        # The keys that open what is sealed came along: Ann's own key, and her session of before.
        for given in (
            (key["AccessKeyId"], key["SecretAccessKey"]),
            (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"]),
        ):
            assert again.client("sts", *given).get_caller_identity()["Arn"].endswith(":user/Ann")
        assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o700
    finally:
        assert again.end() == 0


def test_a_job_that_ran_then_ends_with_its_host_and_is_tried_again(tmp_path: Path) -> None:
    """The machines of the old life are not those of the new one."""
    server = Server(tmp_path / "state", "--machines", "memory", "--vcpus", "8", command="up")
    try:
        batch = server.client("batch")
        job_ids = [submit(batch, attempts) for attempts in (1, 2)]
        wait_for(lambda: all(job["status"] == "RUNNING" for job in described(batch, job_ids)))
        back_up(server.state, tmp_path / "backup")
    finally:
        server.kill()
    restore(tmp_path / "backup", tmp_path / "elsewhere")
    again = Server(tmp_path / "elsewhere", "--machines", "memory", "--vcpus", "8", command="up")
    try:
        batch = again.client("batch")
        wait_for(lambda: [job["status"] for job in described(batch, job_ids)] == ["FAILED", "RUNNING"])
        once, twice = described(batch, job_ids)
        for job in (once, twice):
            (attempt,) = job["attempts"]
            assert attempt["statusReason"].startswith("Host EC2 (instance i-"), attempt
    finally:
        again.kill()


def submit(batch: Any, attempts: int) -> str:
    batch.register_job_definition(
        jobDefinitionName="long", type="container", retryStrategy={"attempts": attempts},
        containerProperties={
            "image": "busybox", "vcpus": 1, "memory": 128, "command": ["true"],
            "environment": [{"name": "LONGSHORE_RUN_SECONDS", "value": "600"}],
        },
    )  # fmt: skip
    job_id: str = batch.submit_job(jobName="long", jobQueue="default", jobDefinition="long")["jobId"]
    return job_id


def described(batch: Any, job_ids: list[str]) -> list[dict[str, Any]]:
    jobs = {job["jobId"]: job for job in batch.describe_jobs(jobs=job_ids)["jobs"]}
    return [jobs[job_id] for job_id in job_ids]


def test_a_folder_is_what_it_was(stopped: Path, backup: Path, tmp_path: Path) -> None:
    """Also one that has images already, and none but the names of a backup is added."""
    state = tmp_path / "state"
    (state / "images").mkdir(parents=True)
    restore(backup, state)
    assert {each.name for each in state.iterdir()} == NAMES | {"images", "lock", "supervisor.lock"}
    for name in NAMES:
        assert (state / name).stat().st_mode & 0o777 == 0o600
        if name != "longshore.db":
            assert (state / name).read_bytes() == (stopped / name).read_bytes()
    assert dump(state) == dump(stopped)


def dump(state: Path) -> list[str]:
    connection = sqlite3.connect(state / "longshore.db")
    lines = [*connection.iterdump()]
    connection.close()
    return lines


def test_what_up_has_made_once_is_not_made_again(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "state")
    (tmp_path / "state" / "defaults-written").touch()
    back_up(tmp_path / "state", tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "again")
    assert (tmp_path / "again" / "defaults-written").read_bytes() == b""


def test_a_file_that_is_there_is_left_alone(stopped: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "dangling"):
        shown = longshore("backup", tmp_path / name, "--state", stopped)
        assert shown.returncode == 1
        assert shown.stderr == (f"longshore: `{tmp_path / name}` is there already, and a backup overwrites nothing\n")
    assert (tmp_path / "mine").read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dangling", "mine"]


def test_what_can_not_be_backed_up_says_why(stopped: Path, tmp_path: Path) -> None:
    shown = longshore("backup", tmp_path / "backup", "--state", tmp_path / "nowhere")
    assert shown.returncode == 1
    assert shown.stderr == (
        f"longshore: no server has kept anything in `{tmp_path / 'nowhere'}`: there is no database\n"
    )
    with pytest.raises(BackupError, match=r"there is no folder `.*none`"):
        back_up(stopped, tmp_path / "none" / "backup")
    broken = tmp_path / "broken"
    shutil.copytree(stopped, broken)
    (broken / "sealing.key").unlink()
    with pytest.raises(BackupError, match=r"`.*sealing.key` is missing"):
        back_up(broken, tmp_path / "backup")
    spoil(broken / "longshore.db")
    with pytest.raises(BackupError, match=r"longshore.db` is damaged|can't read `.*longshore.db`"):
        back_up(broken, tmp_path / "backup")
    assert [each.name for each in tmp_path.iterdir()] == ["broken"]


def spoil(database: Path) -> None:
    """The second half of each page from the second on is zeros."""
    whole = bytearray(database.read_bytes())
    for page in range(4096, len(whole), 4096):
        whole[page : page + 2048] = bytes(2048)
    database.write_bytes(whole)


def test_a_folder_with_a_database_or_a_server_is_left_alone(backup: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "state")
    try:
        shown = longshore("restore", backup, "--state", server.state)
        assert shown.returncode == 1
        assert shown.stderr == f"longshore: a server has the state folder `{server.state}`\n"
    finally:
        assert server.end() == 0
    before = dump(server.state)
    shown = longshore("restore", backup, "--state", server.state)
    assert shown.returncode == 1
    assert shown.stderr == (
        f"longshore: `{server.state / 'longshore.db'}` is there already, and a restore overwrites nothing\n"
    )
    assert dump(server.state) == before
    assert not (server.state / "restoring").exists()


@pytest.mark.parametrize(
    "name", [*sorted(NAMES), "defaults-written", "longshore.db-wal", "longshore.db-journal", "longshore.db-witness"]
)
def test_nothing_is_overwritten(backup: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(BackupError, match="is there already"):
        restore(backup, tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "restoring").exists()


def refused(file: Path, state: Path) -> str:
    """Why; and nothing was put in place."""
    with pytest.raises(BackupError) as raised:
        restore(file, state)
    assert {each.name for each in state.iterdir()} <= {"lock", "supervisor.lock"}
    return str(raised.value)


def test_what_is_no_whole_backup_is_refused(backup: Path, tmp_path: Path) -> None:
    state, wrong = tmp_path / "state", tmp_path / "wrong"
    assert "No such file" in refused(tmp_path / "nowhere", state)
    wrong.write_text("not a backup")
    assert "is no backup, or not a whole one" in refused(wrong, state)
    with tarfile.open(wrong, "w") as tar:
        tar.add(backup, "longshore.db")
    assert "doesn't begin with a `manifest.json`" in refused(wrong, state)
    whole = backup.read_bytes()
    for part in (0, 100, 512, 1024, 1500, 5000, len(whole) // 2, len(whole) - 12_000):
        wrong.write_bytes(whole[:part])
        assert "backup" in refused(wrong, state), part


def test_a_changed_byte_anywhere_is_found(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    with tarfile.open(backup) as tar:
        places = [(member.offset_data + at) for member in tar for at in (0, member.size // 2, member.size - 1)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / "wrong").write_bytes(changed)
        refused(tmp_path / "wrong", tmp_path / "state")


def rewritten(backup: Path, file: Path, **changes: Any) -> Path:
    """The backup with another manifest."""
    with tarfile.open(backup) as old, tarfile.open(file, "w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name == "manifest.json":
                data = json.dumps(json.loads(data) | changes).encode()
                member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return file


def test_a_backup_of_a_later_longshore_is_refused(backup: Path, tmp_path: Path) -> None:
    for change in ({"format": 2}, {"revision": migrate.REVISION + 1}):
        wrong = rewritten(backup, tmp_path / "wrong", **change)
        assert "a later one; use that" in refused(wrong, tmp_path / "state")


def test_names_that_lead_elsewhere_are_refused(backup: Path, tmp_path: Path) -> None:
    with tarfile.open(backup) as tar:
        content = tar.extractfile("manifest.json")
        assert content is not None
        files = json.loads(content.read())["files"]
    for name in ("../escaped", "/tmp/escaped", "images", "lock"):
        wrong = rewritten(backup, tmp_path / "wrong", files=files | {name: {"size": 0, "sha256": ""}})
        assert "is no backup of Longshore" in refused(wrong, tmp_path / "state")
    for name in NAMES:
        fewer = {each: held for each, held in files.items() if each != name}
        assert "is no backup of Longshore" in refused(
            rewritten(backup, tmp_path / "wrong", files=fewer), tmp_path / "state"
        )


@pytest.fixture
def killed(request: pytest.FixtureRequest, stopped: Path, backup: Path, tmp_path: Path) -> Iterator[list[Path]]:
    """A folder for each moment at which the command was killed, and one more for the time when it came to its end."""
    given = {"backup": stopped, "restore": backup}[request.param]
    script = [sys.executable, str(Path(__file__).with_name("dying.py")), request.param, str(given), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    yield [tmp_path / str(number) for number in range(int(done.stdout) + 1)]


@pytest.mark.parametrize("killed", ["backup"], indirect=True)
def test_a_backup_that_is_killed_leaves_no_file(killed: list[Path], tmp_path: Path) -> None:
    assert len(killed) > 8
    drafts = 0
    for folder in killed[:-1]:
        left = list(folder.iterdir())
        whole = [each for each in left if each.name == "backup"]
        for each in whole:  # Killed when it had its name already.
            restore(each, tmp_path / "restored" / folder.name)
        # Between its making and the loss of its name the draft is empty.
        assert all(each.stat().st_size == 0 for each in left if each not in whole)
        drafts += len(left) - len(whole)
    assert drafts <= 3
    restore(killed[-1] / "backup", tmp_path / "restored" / "last")


@pytest.mark.parametrize("killed", ["restore"], indirect=True)
def test_a_restore_that_is_killed_starts_no_server_and_is_made_once_more(
    killed: list[Path], stopped: Path, backup: Path
) -> None:
    assert len(killed) > 12
    whole = dump(stopped)
    has_tried_to_start = False
    for state in killed[:-1]:
        there = NAMES & {each.name for each in state.iterdir()}
        if there and not has_tried_to_start:
            has_tried_to_start = True
            shown = longshore("serve", "--port", "0", "--state", state)
            assert shown.returncode == 1
            assert "was cut short; run `longshore restore` once more" in shown.stderr
        if not (state / "restoring").exists():
            assert there in (set(), NAMES)
            if there:
                continue
        restore(backup, state)
        assert dump(state) == whole
        assert {each.name for each in state.iterdir()} == NAMES | {"lock", "supervisor.lock"}
    assert has_tried_to_start
    assert dump(killed[-1]) == whole
