"""The tables again, by real principals who really call: what the house fills in itself takes the place of the row's context.

A row is called when its question can be brought about: GetRole for what it says of names and resources, TagRole where it
speaks of the request's tags, AssumeRole where it has a trust policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from accounts import limit
from in_process import ROOT as ROOT_KEYS
from in_process import InProcessHouse
from longshore.policy.document import compile_document
from people import EC2_TRUST
from policy.tables.row import ACCOUNT, ALLOWED, OTHER, OWN_ROLE, ROLE, SILENT, TAGS, USER, Row, trusting
from policy.test_tables import ROWS, because

_ROLE = re.compile(rf"arn:aws:iam::{ACCOUNT}:role/team/([a-z0-9_+=,.@-]+)", re.ASCII)  # names differ by more than case
_REQUEST_TAG = "aws:requesttag/"
_TAG_VALUE = re.compile(r"[\w .:/=+@-]*", re.ASCII)  # IAM API reference, Tag
_WHO = ("user", "session", "root")
# What a call of `who` brings along, as far as the tables look at it. All other keys that a row may use are absent.
_BROUGHT: dict[str, dict[str, str]] = {
    "user": {"aws:username": "ann", "aws:principalarn": USER, "aws:principaltag/team": TAGS["team"]},
    "session": {"aws:principalarn": OWN_ROLE},
    "root": {},
}
_ABSENT = frozenset(
    (
        "aws:nothing",
        "aws:resourcetag/team",
        "sts:externalid",
        "iam:passedtoservice",
        "batch:image",
        "aws:multifactorauthpresent",
    )
)


def _name(arn: str) -> str:
    found = _ROLE.fullmatch(arn)
    assert found is not None
    return found[1]


def documents(row: Row) -> list[dict[str, Any]]:
    own = [*row.identity, *row.session, *(each for level in row.control for each in level)]
    return own + [each for each in (row.boundary, row.resource_policy) if each]


def can_be_called(row: Row) -> bool:
    """Whether the house itself would say what the row's context says."""
    if row.who not in _WHO or OTHER in json.dumps(documents(row)) or row.owner:
        return False
    if row.boundary and (row.boundary.get("Version") != "2012-10-17" or row.who == "root"):
        return False
    if row.action == "sts:AssumeRole":
        # Root users assume no roles; whom a trust policy names must be there.
        named = set(re.findall(r"arn:aws:iam::\d+:(?:user|role)/[^\"]*", json.dumps(row.resource_policy)))
        if row.resource != ROLE or not row.is_trust or row.who == "root" or not named <= {USER, OWN_ROLE}:
            return False
    elif row.action != "iam:GetRole" or row.resource_policy or not _ROLE.fullmatch(row.resource):
        return False
    context = {key.lower(): value for key, value in row.context.items()}
    names = frozenset().union(
        *(statement.names() for each in documents(row) for statement in compile_document(each).statements)
    )
    brought = _BROUGHT[row.who] | (brought_by_tags(row) or {})
    for name in names:
        if name in brought or name in _ABSENT or name.startswith(_REQUEST_TAG):
            if brought.get(name) != context.get(name):
                return False
        elif name != "aws:tagkeys" or brought_by_tags(row) is None:
            return False
    return True


def brought_by_tags(row: Row) -> dict[str, Any] | None:
    """The context that the row's tags bring when they are really put on; None: they cannot, or there are none."""
    tags = request_tags(row)
    if not tags:
        return None
    keys = [tag["Key"] for tag in tags]
    if not all(_TAG_VALUE.fullmatch(tag["Value"]) for tag in tags):
        return None
    return {"aws:tagkeys": keys, **{f"{_REQUEST_TAG}{tag['Key'].lower()}": tag["Value"] for tag in tags}}


def request_tags(row: Row) -> list[dict[str, str]]:
    context = {key.lower(): value for key, value in row.context.items()}
    keys = context.get("aws:tagkeys")
    if keys:
        return [{"Key": key, "Value": ""} for key in ([keys] if isinstance(keys, str) else keys)]
    given = {name: value for name, value in context.items() if name.startswith(_REQUEST_TAG) and isinstance(value, str)}
    return [{"Key": name.removeprefix(_REQUEST_TAG), "Value": value} for name, value in given.items()]


CALLED = [row for row in ROWS if can_be_called(row)]


class Stage:
    """A house with ann, with a role whose session calls, and with the roles that rows ask about."""

    def __init__(self) -> None:
        self.house = InProcessHouse()
        self.iam = self.house.client("iam")
        self.ids = {
            "AIDAANN234567ABCDEFGH": self.iam.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "blue"}])[
                "User"
            ]["UserId"]
        }
        self.key = self.iam.create_access_key(UserName="ann")["AccessKey"]
        trust = json.dumps({"Version": "2012-10-17", "Statement": [trusting({"AWS": USER})]})
        role = self.iam.create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=trust)["Role"]
        self.ids["AROAOPS234567ABCDEFGH"] = role["RoleId"]
        names = {found[1] for row in CALLED if (found := _ROLE.fullmatch(row.resource))}
        for name in sorted({*names, "target"} - {"ops"}, key=str.lower):
            self.iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=EC2_TRUST)
        self.boundaries: dict[str, str] = {}
        self.kept: dict[tuple[str, Any], str | None] = {}
        self.clients: dict[str, Any] = {}

    def client(self, row: Row, service: str) -> Any:
        if row.who == "root":
            return self.house.client(service, ROOT_KEYS.access_key_id, ROOT_KEYS.secret_access_key)
        own = self.key["AccessKeyId"], self.key["SecretAccessKey"]
        if row.who == "user":
            if service not in self.clients:
                self.clients[service] = self.house.client(service, *own)
            return self.clients[service]
        more: dict[str, Any] = {}
        if row.session:
            # One inline policy is all that can be handed over; several documents would go by ARN.
            more["Policy"] = json.dumps(row.session[0])
            more["PolicyArns"] = [{"arn": self.managed(each)} for each in row.session[1:]]
        sts = self.house.client("sts", *own)
        given = sts.assume_role(RoleArn=OWN_ROLE, RoleSessionName="job", **more)["Credentials"]
        return self.house.client(service, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def managed(self, document: dict[str, Any]) -> str:
        text = json.dumps(document)
        if text not in self.boundaries:
            name = f"m{len(self.boundaries)}"
            self.boundaries[text] = self.iam.create_policy(PolicyName=name, PolicyDocument=text)["Policy"]["Arn"]
        return self.boundaries[text]

    def set(self, row: Row) -> str:
        """Gives the caller the row's policies; the action that will be asked."""
        kind, name = {"user": ("user", "ann"), "session": ("role", "ops")}[row.who]
        member = {"user": "UserName", "role": "RoleName"}[kind]
        who = {member: name}
        action = "iam:TagRole" if request_tags(row) else row.action
        texts = [json.dumps(each).replace("iam:GetRole", action) for each in row.identity]
        for at in range(2):
            self.keep((kind, at), texts[at] if at < len(texts) else None, who)
        self.keep((kind, "boundary"), self.managed(row.boundary) if row.boundary else None, who)
        if row.resource_policy:
            text = json.dumps(row.resource_policy)
            for unique_id, real in self.ids.items():
                text = text.replace(f'"{unique_id}"', f'"{real}"')
            self.iam.update_assume_role_policy(RoleName="target", PolicyDocument=text)
        return action

    def keep(self, place: tuple[str, Any], wanted: str | None, who: dict[str, str]) -> None:
        """Puts a policy or a boundary in its place, or takes it away, unless it is so already."""
        if self.kept.get(place) == wanted:
            return
        self.kept[place] = wanted
        kind, at = place
        if at == "boundary" and wanted:
            getattr(self.iam, f"put_{kind}_permissions_boundary")(PermissionsBoundary=wanted, **who)
        elif at == "boundary":
            getattr(self.iam, f"delete_{kind}_permissions_boundary")(**who)
        elif wanted:
            getattr(self.iam, f"put_{kind}_policy")(PolicyName=f"p{at}", PolicyDocument=wanted, **who)
        else:
            getattr(self.iam, f"delete_{kind}_policy")(PolicyName=f"p{at}", **who)

    def call(self, row: Row) -> str | None:
        """AWS's message when it is refused; None: it is allowed."""
        action = row.action if row.who == "root" else self.set(row)
        client = self.client(row, action.partition(":")[0])
        if row.control:
            limit(self.house, ACCOUNT, *([json.dumps(each) for each in level] for level in row.control))
        try:
            if action == "sts:AssumeRole":
                client.assume_role(RoleArn=row.resource, RoleSessionName="taken")
            elif action == "iam:TagRole":
                client.tag_role(RoleName=_name(row.resource), Tags=request_tags(row))
            else:
                client.get_role(RoleName=_name(row.resource))
        except ClientError as error:
            # Two tags whose keys differ by case alone are refused, but by the one who was allowed.
            return error.response["Error"]["Message"] if error.response["Error"]["Code"] == "AccessDenied" else None
        finally:
            if row.control:
                limit(self.house, ACCOUNT)
        return None


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.house.close()


def test_those_who_really_call_get_what_the_tables_say(stage: Stage) -> None:
    wrong = []
    for number, row in enumerate(CALLED):
        message = stage.call(row)
        if (message is None) is not (row.expected == ALLOWED):
            wrong.append((number, row, message))
        elif message is not None and row.action != "sts:AssumeRole":
            action = "iam:TagRole" if request_tags(row) else row.action
            end = because(row) or ("because no " if row.expected == SILENT else "with an explicit deny in ")
            if end.replace("iam:GetRole", action) not in message:
                wrong.append((number, row, message))
    assert wrong == []
    assert len(CALLED) > 500
