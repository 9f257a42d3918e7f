"""The managed policies of AWS: all of them, listed by pages, each with the document of its newest version."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from longshore.services.iam import managed
from people import EC2_TRUST, allow
from refusals import refused

REPOSITORY = Path(__file__).resolve().parents[3]
SQS = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"  # of those in the archive
INSTANCE = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"  # by itself


def test_all_of_them_are_listed_page_by_page(house) -> None:
    iam = house.client("iam")
    pages = list(iam.get_paginator("list_policies").paginate(Scope="AWS", PaginationConfig={"PageSize": 1000}))
    assert [len(page["Policies"]) for page in pages[:-1]] == [1000]
    found = [each for page in pages for each in page["Policies"]]
    arns = [each["Arn"] for each in found]
    assert len(arns) == len(set(arns)) > 1500 and {SQS, INSTANCE} <= set(arns)
    assert [each["PolicyName"].lower() for each in found] == sorted(each["PolicyName"].lower() for each in found)
    assert all(each["PolicyId"].startswith("ANPA") and each["UpdateDate"] >= each["CreateDate"] for each in found)
    only = iam.list_policies(Scope="AWS", PathPrefix="/aws-service-role/", MaxItems=1000)["Policies"]
    assert {each["Path"] for each in only} == {"/aws-service-role/"} and len(only) > 200
    assert len(iam.list_policies(Scope="AWS")["Policies"]) == 100


@pytest.mark.parametrize("arn", [SQS, INSTANCE])
def test_each_has_the_document_of_its_default_version(house, arn) -> None:
    iam = house.client("iam")
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    assert version["IsDefaultVersion"] is True and version["Document"]["Version"] == "2012-10-17"
    assert [each["VersionId"] for each in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [
        policy["DefaultVersionId"]
    ]
    with refused("NoSuchEntity", status=404):
        iam.get_policy_version(PolicyArn=arn, VersionId="v999")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("service-role/AmazonEC2ContainerServiceforEC2Role", 10),
        ("service-role/AWSBatchServiceRole", 13),
        ("aws-service-role/BatchServiceRolePolicy", 8),
        ("AWSBatchFullAccess", 7),
        ("service-role/AmazonEC2SpotFleetTaggingRole", 5),
        ("AmazonECS_FullAccess", 21),
        ("aws-service-role/AmazonECSServiceRolePolicy", 23),
        ("PowerUserAccess", 12),
        ("ReadOnlyAccess", 178),
    ],
)
def test_none_is_older_than_what_was_known_in_2026(name, version) -> None:
    policy = managed.find(f"arn:aws:iam::aws:policy/{name}")
    assert policy is not None and policy.default_number >= version


def test_one_of_the_archive_gives_what_it_says(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    iam.attach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/IAMUserChangePassword")
    iam.create_login_profile(UserName="anna", Password="Blue-Kettle-7")
    anna.client("iam").change_password(OldPassword="Blue-Kettle-7", NewPassword="Green-Kettle-8")
    with refused("AccessDenied", status=403):
        anna.client("iam").list_users()
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    iam.attach_role_policy(RoleName="r", PolicyArn=SQS)
    used = iam.list_policies(Scope="AWS", OnlyAttached=True)["Policies"]
    assert [each["PolicyName"] for each in used] == ["AmazonSQSFullAccess", "IAMUserChangePassword"]


def test_nobody_changes_them_and_none_is_made_up(house, person) -> None:
    iam = house.client("iam")
    for call in (
        lambda: iam.delete_policy(PolicyArn=SQS),
        lambda: iam.tag_policy(PolicyArn=SQS, Tags=[{"Key": "k", "Value": "v"}]),
        lambda: iam.set_default_policy_version(PolicyArn=SQS, VersionId="v1"),
    ):
        with refused("AccessDenied", status=403):
            call()
    person("anna").may(allow("*"))
    for name in (
        "NoSuchPolicy",
        "service-role/AmazonSQSFullAccess",
        "../managed_policies/AdministratorAccess",
        "index",
    ):
        with refused("NoSuchEntity", status=404):
            iam.get_policy(PolicyArn=f"arn:aws:iam::aws:policy/{name}")


def test_a_server_that_is_not_asked_for_them_does_not_read_them() -> None:
    program = (
        "import longshore.server.assemble\n"
        "from longshore.services.iam import managed\n"
        "assert managed._index.cache_info().currsize == managed.headers.cache_info().currsize == 0\n"
        f"managed.find({INSTANCE!r})\n"
        "assert managed._index.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# The script that brings them up to date ----------------------------------------------------------------------------------


@pytest.fixture
def refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a folder of its own."""
    path = str(REPOSITORY / "scripts" / "refresh-managed-policies")
    loader = importlib.machinery.SourceFileLoader("refresh_managed_policies", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(script)
    (tmp_path / "by-hand").mkdir()
    monkeypatch.setattr(script, "FOLDER", tmp_path / "by-hand")
    monkeypatch.setattr(script, "ARCHIVE", tmp_path / "managed_policies.zip")
    return script


def offer(folder: Path, **versions: str) -> Path:
    """A wheel that offers policies of these names and versions."""
    policies = {
        name: {
            "CreateDate": "2020-01-01T00:00:00+00:00", "UpdateDate": "2026-01-01T00:00:00+00:00", "Path": "/a/",
            "DefaultVersionId": version, "Document": {"Version": "2012-10-17", "Statement": [allow(f"s3:{version}")]},
        }
        for name, version in versions.items()
    }  # fmt: skip
    wheel = folder / "moto-9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "moto/iam/aws_managed_policies.py", f'aws_managed_policies_data = """{json.dumps(policies)}"""'
        )
    return wheel


def test_a_refresh_keeps_what_is_newer_by_hand_and_says_what_changed(refresh, tmp_path, monkeypatch, capsys) -> None:
    def run(**versions: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["refresh", "--wheel", str(offer(tmp_path, **versions))])
        assert refresh.main() == 0
        return capsys.readouterr().out.splitlines()[:-1]

    def by_hand(name: str, version: str | None = None) -> str:
        path = tmp_path / "by-hand" / f"{name}.json"
        if version is not None:
            path.write_text(
                json.dumps({"arn": f"arn:aws:iam::aws:policy/a/{name}", "version": version, "document": {}})
            )
        return json.loads(path.read_text())["version"]

    by_hand("Ahead", "v10")
    by_hand("Behind", "v1")
    by_hand("Alone", "v1")
    assert run(Ahead="v9", Behind="v2", One="v1", Two="v3") == [
        "by hand   Ahead v10: v9 among the others",
        "by hand   Alone v1: not among the others",
        "newer     Behind v1 -> v2",
        "new       One v1",
        "new       Two v3",
    ]
    assert (by_hand("Ahead"), by_hand("Behind")) == ("v10", "v2")
    first = (tmp_path / "managed_policies.zip").read_bytes()
    run(Two="v3", One="v1", Behind="v2", Ahead="v9")
    assert (tmp_path / "managed_policies.zip").read_bytes() == first
    assert run(Ahead="v9", Behind="v2", Two="v4") == [
        "by hand   Ahead v10: v9 among the others",
        "by hand   Alone v1: not among the others",
        "gone      One",
        "newer     Two v3 -> v4",
    ]
    assert list(refresh.read_archive()) == ["Two"]


def test_what_stands_by_itself_is_not_in_the_archive_too() -> None:
    folder = REPOSITORY / "src" / "longshore" / "services" / "iam" / "managed_policies"
    assert not {path.stem for path in folder.glob("*.json")} & {arn.rsplit("/", 1)[1] for arn in managed._index()}
