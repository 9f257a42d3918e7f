"""`longshore accounts`, as its users meet it: while a server runs, and while none does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from system.running import LONGSHORE, Server

DENY = '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "iam:ListUsers", "Resource": "*"}}'
READS = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:Get*", "Resource": "*"}}'


def longshore(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LONGSHORE_"))}
    command = [*LONGSHORE, *arguments, "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def test_accounts_are_added_limited_and_kept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    server = Server(state)
    try:
        made = longshore(state, "accounts", "add", "222222222222", "--name", "research", "--output", "json")
        assert made.returncode == 0, made.stderr
        key = json.loads(made.stdout)
        iam = server.client("iam", key["accessKeyId"], key["secretAccessKey"])
        assert iam.list_users()["Users"] == []
        twice = longshore(state, "accounts", "add", "222222222222")
        assert twice.returncode == 1
        assert twice.stderr == "longshore: DuplicateAccountException: there is an account 222222222222 already\n"

        (tmp_path / "deny.json").write_text(DENY)
        (tmp_path / "unit").mkdir()
        (tmp_path / "unit" / "reads.json").write_text(READS)
        limited = longshore(state, "accounts", "scp", "222222222222", str(tmp_path / "deny.json"))
        assert limited.stdout == "level 1  FullAWSAccess, deny\n", limited.stderr
        with pytest.raises(ClientError, match="with an explicit deny in a service control policy"):
            iam.list_users()
        iam.list_roles()
        only = longshore(
            state, "accounts", "scp", "222222222222", str(tmp_path / "unit"), str(tmp_path / "deny.json"),
            "--without-full-access",
        )  # fmt: skip
        assert only.stdout == "level 1  reads\nlevel 2  deny\n", only.stderr
        with pytest.raises(ClientError, match="because no service control policy allows the iam:ListRoles action"):
            iam.list_roles()
        shown = longshore(state, "accounts", "scp", "222222222222").stdout
        assert shown == f"level 1  reads\n{READS}\nlevel 2  deny\n{DENY}\n"
        listed = longshore(state, "accounts", "list").stdout
        assert listed == "123456789012  first\n222222222222  research  limited by reads | deny\n"
        assert longshore(state, "accounts", "scp", "222222222222", "--remove").returncode == 0
        iam.list_roles()
        nobody = longshore(state, "accounts", "scp", "999999999999", "--remove")
        assert nobody.stderr.startswith("longshore: AccountNotFoundException:")
    finally:
        server.end()

    # No server runs: the same is done on the folder.
    alone = longshore(state, "accounts", "add", "--output", "json")
    assert alone.returncode == 0, alone.stderr
    third = json.loads(alone.stdout)
    assert (state / "account-credentials.json").stat().st_mode & 0o777 == 0o600
    env = longshore(state, "env", "--account", third["account"])
    assert f"export AWS_SECRET_ACCESS_KEY={third['secretAccessKey']}\n" in env.stdout, env.stderr
    assert longshore(state, "env", "--account", "999999999999").returncode == 1

    again = Server(state)
    try:
        for one in (key, third):
            sts = again.client("sts", one["accessKeyId"], one["secretAccessKey"])
            assert sts.get_caller_identity()["Account"] == one["account"]
        # What a thief of the database would look for is sealed with a key that lies elsewhere.
        kept = b"".join(path.read_bytes() for path in state.glob("longshore.db*"))
        assert key["accessKeyId"].encode() in kept
        for one in (key, third):
            assert one["secretAccessKey"].encode() not in kept
    finally:
        again.end()

    # Nor does a server of his own open it.
    thief = tmp_path / "thief"
    thief.mkdir()
    for path in state.glob("longshore.db*"):
        shutil.copy(path, thief)
    stolen = Server(thief)
    try:
        sts = stolen.client("sts", key["accessKeyId"], key["secretAccessKey"])
        with pytest.raises(ClientError, match="InvalidClientTokenId"):
            sts.get_caller_identity()
    finally:
        stolen.end()


def test_a_folder_without_a_server_s_keys_has_no_accounts(tmp_path: Path) -> None:
    told = longshore(tmp_path, "accounts", "list")
    assert told.returncode == 1 and "no server has been started with the state folder" in told.stderr
