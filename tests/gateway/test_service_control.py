"""Service control policies: what limits everybody of an account, and how refusals name it."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import Account, ask, limit
from in_process import ACCOUNT, InProcessHouse
from people import EC2_TRUST, Person, allow, deny, document, trust
from refusals import refused

OTHER = "222222222222"
ALL = document(allow("*"))
DENIED = "with an explicit deny in a service control policy"
SILENT = "because no service control policy allows the iam:ListUsers action"
ROLE_ARN = f"arn:aws:iam::{OTHER}:role/ops"


@pytest.fixture
def other(house: InProcessHouse) -> Account:
    return Account(house, OTHER)


def list_users(client: Any, arn: str, because: str | None) -> None:
    if because is None:
        client.list_users()
        return
    text = f"User: {arn} is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::{OTHER}:user/ {because}"
    with refused("AccessDenied", text, status=403):
        client.list_users()


def everybody(house: InProcessHouse, other: Account) -> list[tuple[Any, str]]:
    """(iam client, ARN) of the root user, a user and a session of a role, all of whom may do everything."""
    iam = other.client("iam")
    bob = Person(house, "bob", iam=iam)
    bob.may(allow("*"))
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": bob.arn}))
    iam.put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=ALL)
    given = bob.client("sts").assume_role(RoleArn=ROLE_ARN, RoleSessionName="se")["Credentials"]
    session = house.client("iam", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    return [
        (iam, f"arn:aws:iam::{OTHER}:root"),
        (bob.client("iam"), bob.arn),
        (session, f"arn:aws:sts::{OTHER}:assumed-role/ops/se"),
    ]


def test_they_limit_root_users_and_roles_from_the_next_request_on(house: InProcessHouse, other: Account) -> None:
    people = everybody(house, other)
    for levels, because in (
        ([], None),
        ([[ALL]], None),
        ([[ALL, document(deny("iam:ListUsers"))]], DENIED),
        ([[document(allow("iam:List*"))]], None),
        ([[document(allow("iam:Get*"))]], SILENT),
        ([[ALL], [document(allow("iam:Get*"))]], SILENT),
        ([[document(allow("iam:Get*"))], [ALL]], SILENT),
        ([[document(allow("iam:*"))], [ALL]], None),
        ([[document(deny("iam:*")), ALL], [document(allow("iam:Get*"))]], DENIED),
        ([[]], SILENT),
        ([], None),
    ):
        limit(house, OTHER, *levels)
        for client, arn in people:
            list_users(client, arn, because)


def test_their_conditions_see_the_caller(house: InProcessHouse, other: Account) -> None:
    but_ops = deny("iam:ListUsers", Condition={"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/ops"}})
    (root, arn), (bob, bobs), (session, sessions) = everybody(house, other)
    limit(house, OTHER, [ALL, document(but_ops)])
    list_users(root, arn, DENIED)
    list_users(bob, bobs, DENIED)
    list_users(session, sessions, None)


def test_one_account_s_limits_are_not_another_s(house: InProcessHouse, other: Account) -> None:
    limit(house, OTHER, [ALL, document(deny("iam:*"))])
    house.client("iam").list_users()
    third = Account(house, name="third")
    third.client("iam").list_users()


def test_the_first_account_can_be_limited_and_freed(house: InProcessHouse) -> None:
    iam = house.client("iam")
    limit(house, ACCOUNT, [document(deny("*"))])
    with refused("AccessDenied", status=403):
        iam.list_users()
    status, answer = ask(house, "GET", f"/_longshore/accounts/{ACCOUNT}/service-control-policies")
    assert (status, answer) == (200, {"levels": [[{"name": "p1", "document": document(deny("*"))}]]})
    limit(house, ACCOUNT)
    iam.list_users()


def test_what_is_never_refused_is_not_refused_by_them(house: InProcessHouse, other: Account) -> None:
    limit(house, OTHER, [document(deny("*"))])
    assert other.client("sts").get_caller_identity()["Account"] == OTHER


def test_they_limit_the_caller_who_takes_a_role_elsewhere_and_the_role_there(
    house: InProcessHouse, other: Account
) -> None:
    bob = Person(house, "bob", iam=other.client("iam"))
    bob.may(allow("sts:AssumeRole"))
    iam = house.client("iam")
    role = iam.create_role(RoleName="here", AssumeRolePolicyDocument=trust({"AWS": bob.arn}))["Role"]["Arn"]
    iam.put_role_policy(RoleName="here", PolicyName="p", PolicyDocument=ALL)

    def take() -> Any:
        given = bob.client("sts").assume_role(RoleArn=role, RoleSessionName="se")["Credentials"]
        return house.client("iam", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    session = take()
    session.list_users()
    limit(house, OTHER, [ALL, document(deny("sts:AssumeRole"))])
    text = f"User: {bob.arn} is not authorized to perform: sts:AssumeRole on resource: {role} {DENIED}"
    with refused("AccessDenied", text, status=403):
        take()
    session.list_users()  # The session is of the other account, and that one's limits are its own.
    limit(house, OTHER)
    limit(house, ACCOUNT, [document(allow("sts:*"))])
    with refused("AccessDenied", status=403):
        take().list_users()


def test_they_limit_no_service_linked_role_and_no_service(house: InProcessHouse, other: Account) -> None:
    iam = other.client("iam")
    iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    iam.put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=ALL)
    limit(house, OTHER, [document(deny("*"))])
    turn = house.house.turn("batch", account=OTHER)
    linked = f"arn:aws:iam::{OTHER}:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"

    def look(call: Any, role: str, service: str) -> None:
        session = call.assume(role, service)
        call.peer("ec2", "DescribeInstances", {}, as_=session)

    def run(role: str, service: str) -> None:
        house.loop.run_until_complete(_awaited(turn.write(lambda call: look(call, role, service))))

    run(linked, "batch.amazonaws.com")
    with pytest.raises(Exception, match=DENIED):
        run(ROLE_ARN, "ec2.amazonaws.com")  # EC2 takes the role; what the role may is limited.


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


@pytest.mark.parametrize(
    ("levels", "code", "text"),
    [
        ([[{"name": "p", "document": "{"}]], "MalformedPolicyDocumentException", "`p`: Syntax errors in policy."),
        ([[{"name": "p", "document": document(allow("nonsense"))}]], "MalformedPolicyDocumentException", None),
        ([[{"name": "p", "document": document(deny("s3:*", ["arn:aws:s3:::" + "b" * 500] * 12))}]],
         "ConstraintViolationException", None),
        ([[{"name": "p", "document": ALL}] * 6], "ConstraintViolationException", None),
        ([[]] * 8, "ConstraintViolationException", None),
        ("all", "InvalidInputException", None),
        ([{"name": "p"}], "InvalidInputException", None),
        ([[{"name": "p"}]], "InvalidInputException", None),
        (None, "InvalidInputException", None),
    ],
)  # fmt: skip
def test_policies_that_cannot_be(house: InProcessHouse, levels: Any, code: str, text: str | None) -> None:
    path = f"/_longshore/accounts/{ACCOUNT}/service-control-policies"
    status, answer = ask(house, "PUT", path, {"levels": levels})
    assert (status, answer["__type"]) == (400, code)
    if text is not None:
        assert answer["message"] == text
    house.client("iam").list_users()


def test_an_account_that_is_not_there_has_none(house: InProcessHouse) -> None:
    for method, body in (("GET", None), ("PUT", {"levels": []})):
        status, answer = ask(house, method, "/_longshore/accounts/999999999999/service-control-policies", body)
        assert (status, answer["__type"]) == (404, "AccountNotFoundException")
