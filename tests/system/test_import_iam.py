"""`longshore import iam` as it is typed: from what the real `aws` command prints, of our server and of one of others."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from system.chain import EC2_TRUST, INSTANCE_POLICY
from system.moto import moto
from system.running import CHECKOUT, LONGSHORE, REGION, ROOT_KEY, ROOT_SECRET, Server

TAKEN_OVER, SOMETHING_LEFT, CANNOT_READ = 0, 1, 2
THERE = "123456789012"  # moto's, and the one of our servers
HERE = "444455556666"
DETAILS = ["iam", "get-account-authorization-details"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("here") / "state", "--account", HERE)
    try:
        yield server
    finally:
        assert server.end() == 0


def imported(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*LONGSHORE, "import", "iam", "--state", str(server.state), *arguments]
    keys = {"LONGSHORE_ROOT_ACCESS_KEY_ID": ROOT_KEY, "LONGSHORE_ROOT_SECRET_ACCESS_KEY": ROOT_SECRET}
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **keys}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def printed(endpoint: str) -> str:
    """By the real command."""
    environment = {
        "PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET, "AWS_DEFAULT_REGION": REGION,
    }  # fmt: skip
    aws = str(CHECKOUT / ".venv-aws" / "bin" / "aws")
    done = subprocess.run([aws, *DETAILS], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(iam: Any, prefix: str) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    own = iam.create_policy(PolicyName=f"{prefix}-own", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.create_group(GroupName=f"{prefix}-team")
    iam.attach_group_policy(GroupName=f"{prefix}-team", PolicyArn=own)
    iam.create_user(UserName=f"{prefix}-ann")
    iam.add_user_to_group(GroupName=f"{prefix}-team", UserName=f"{prefix}-ann")
    iam.create_role(RoleName=f"{prefix}-nodes", AssumeRolePolicyDocument=EC2_TRUST, PermissionsBoundary=own)
    iam.attach_role_policy(RoleName=f"{prefix}-nodes", PolicyArn=INSTANCE_POLICY)
    iam.create_instance_profile(InstanceProfileName=f"{prefix}-nodes")
    iam.add_role_to_instance_profile(InstanceProfileName=f"{prefix}-nodes", RoleName=f"{prefix}-nodes")


def is_there(iam: Any, prefix: str) -> None:
    own = f"arn:aws:iam::{HERE}:policy/{prefix}-own"
    assert iam.list_attached_group_policies(GroupName=f"{prefix}-team")["AttachedPolicies"][0]["PolicyArn"] == own
    assert [each["UserName"] for each in iam.get_group(GroupName=f"{prefix}-team")["Users"]] == [f"{prefix}-ann"]
    role = iam.get_role(RoleName=f"{prefix}-nodes")["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == own
    profile = iam.get_instance_profile(InstanceProfileName=f"{prefix}-nodes")["InstanceProfile"]
    assert [each["Arn"] for each in profile["Roles"]] == [f"arn:aws:iam::{HERE}:role/{prefix}-nodes"]


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_what_the_command_prints_is_taken_over_once(here: Server, tmp_path: Path, whose: str) -> None:
    file = tmp_path / "details.json"
    if whose == "ours":
        server = Server(tmp_path / "state", "--account", THERE)
        try:
            build(server.client("iam"), whose)
            file.write_text(printed(server.endpoint))
        finally:
            assert server.end() == 0
    else:
        with moto(tmp_path) as endpoint:
            iam = botocore.session.get_session().create_client(
                "iam", region_name=REGION, endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x"
            )
            build(iam, whose)
            file.write_text(printed(endpoint))
    shown = imported(here, "--dry-run", str(file))
    assert shown.returncode == TAKEN_OVER and f"aws iam create-user --user-name {whose}-ann --path /" in shown.stdout
    first = imported(here, "--output", "json", str(file))
    assert first.returncode == TAKEN_OVER, first.stdout + first.stderr
    told = json.loads(first.stdout)
    assert (told["from"], told["to"], told["left"]) == (THERE, HERE, [])
    assert told["changes"] == len(shown.stdout.splitlines()) >= 9
    is_there(here.client("iam"), whose)
    again = imported(here, str(file))
    assert (again.returncode, again.stdout) == (TAKEN_OVER, f"account {THERE}, rebuilt as {HERE}: 0 changes\n")


def test_what_is_left_is_listed(here: Server, tmp_path: Path) -> None:
    file = tmp_path / "details.json"
    linked = {
        "RoleName": "AWSServiceRoleForSupport", "Path": "/aws-service-role/support.amazonaws.com/",
        "Arn": f"arn:aws:iam::{THERE}:role/aws-service-role/support.amazonaws.com/AWSServiceRoleForSupport",
        "AssumeRolePolicyDocument": json.loads(EC2_TRUST),
    }  # fmt: skip
    file.write_text(json.dumps({"RoleDetailList": [linked]}))
    done = imported(here, str(file))
    assert done.returncode == SOMETHING_LEFT
    assert done.stdout.splitlines()[1] == (
        "- left: role AWSServiceRoleForSupport: CreateServiceLinkedRole: Service support.amazonaws.com is not supported for"
        " service-linked roles."
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Users": []}'])
def test_what_is_no_such_file_is_told(here: Server, tmp_path: Path, text: str) -> None:
    file = tmp_path / "details.json"
    file.write_text(text)
    done = imported(here, str(file))
    assert done.returncode == CANNOT_READ and done.stderr.startswith(f"longshore: `{file}`: ") and done.stdout == ""
