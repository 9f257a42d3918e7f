"""Who may, and why not: the order of decision and AWS's reasons, word for word."""

from __future__ import annotations

import time
from typing import Any

import pytest

from longshore.aws.principal import Principal, root, service
from longshore.policy.document import Document, compile_document
from longshore.policy.evaluate import Policies, Question, decide, evaluate
from people import allow, deny

ACCOUNT, OTHER = "123456789012", "210987654321"
ACTION, RESOURCE = "s3:GetObject", "arn:aws:s3:::bucket/key"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/team/ops"
SESSION_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/job"
USER = Principal(
    kind="user", account=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:user/ann", user_id="AIDAANN", user_name="ann"
)
SESSION = Principal(
    kind="assumed-role", account=ACCOUNT, arn=SESSION_ARN, user_id="AROAOPS:job", role_arn=ROLE_ARN, role_id="AROAOPS"
)
FEDERATED = Principal(
    kind="federated-user", account=ACCOUNT, arn=f"arn:aws:sts::{ACCOUNT}:federated-user/ann", user_id=f"{ACCOUNT}:ann"
)
ROOT = root(ACCOUNT)
EC2 = service("ec2.amazonaws.com", ACCOUNT)

NO_IDENTITY = f"because no identity-based policy allows the {ACTION} action"
NO_BOUNDARY = f"because no permissions boundary allows the {ACTION} action"
NO_SESSION = f"because no session policy allows the {ACTION} action"
NO_RESOURCE = f"because no resource-based policy allows the {ACTION} action"
NO_CONTROL = f"because no service control policy allows the {ACTION} action"
DENIES = {
    "control": "with an explicit deny in a service control policy",
    "identity": "with an explicit deny in an identity-based policy",
    "boundary": "with an explicit deny in a permissions boundary",
    "session": "with an explicit deny in a session policy",
    "resource": "with an explicit deny in a resource-based policy",
}


def doc(*statements: dict[str, Any]) -> Document:
    return compile_document({"Version": "2012-10-17", "Statement": list(statements)})


YES, NO, SILENT = doc(allow(ACTION)), doc(deny(ACTION)), doc(allow("s3:PutObject"))


def named(principal: Any, effect: str = "Allow", **more: Any) -> Document:
    return doc({"Effect": effect, "Principal": principal, "Action": ACTION, "Resource": "*", **more})


def because(
    who: Principal = USER,
    *,
    identity: Document | None = YES,
    boundary: Document | None = None,
    session: Document | None = None,
    control: tuple[tuple[Document, ...], ...] = (),
    resource: Document | None = None,
    on: str = RESOURCE,
) -> str:
    """Why not; empty: allowed."""
    policies = Policies((identity,) if identity else (), boundary, (session,) if session else (), control)
    decision = evaluate(Question(who, ACTION, on, {}), policies, resource)
    assert decision.allowed is (decision.because == "")
    return decision.because


# The caller's own policies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [USER, SESSION])
def test_identity_boundary_and_session_must_all_allow(who: Principal) -> None:
    assert because(who) == ""
    assert because(who, identity=None) == NO_IDENTITY
    assert because(who, identity=SILENT) == NO_IDENTITY
    assert because(who, boundary=YES) == ""
    assert because(who, boundary=SILENT) == NO_BOUNDARY
    assert because(who, session=YES) == ""
    assert because(who, session=SILENT) == NO_SESSION
    assert because(who, boundary=YES, session=YES) == ""
    # One reason only, the first in this order.
    assert because(who, identity=SILENT, boundary=SILENT, session=SILENT) == NO_IDENTITY
    assert because(who, boundary=SILENT, session=SILENT) == NO_BOUNDARY
    # A boundary and a session policy limit, they grant nothing.
    assert because(who, identity=None, boundary=YES, session=YES) == NO_IDENTITY


def test_a_deny_is_told_before_any_silence_and_the_first_place_of_it() -> None:
    assert because(identity=NO) == DENIES["identity"]
    assert because(boundary=NO) == DENIES["boundary"]
    assert because(session=NO) == DENIES["session"]
    assert because(resource=named("*", "Deny")) == DENIES["resource"]
    assert because(identity=None, boundary=SILENT, session=NO) == DENIES["session"]
    assert because(identity=NO, boundary=NO, session=NO) == DENIES["identity"]
    assert because(identity=doc(allow(ACTION), deny(ACTION))) == DENIES["identity"]
    assert because(identity=None, resource=doc(*[
        {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Principal": {"AWS": USER.arn}, "Action": ACTION, "Resource": "*"},
    ])) == DENIES["resource"]  # fmt: skip


def test_several_session_policies_are_one_in_several_documents() -> None:
    policies = Policies((YES,), None, (SILENT, YES))
    assert evaluate(Question(USER, ACTION, RESOURCE, {}), policies).allowed


def test_the_account_s_own_user_needs_no_policy_but_can_be_denied() -> None:
    assert because(ROOT, identity=None) == ""
    assert because(ROOT, identity=None, resource=named({"AWS": ACCOUNT}, "Deny")) == DENIES["resource"]


@pytest.mark.parametrize("who", [USER, SESSION, ROOT])
def test_service_control_policies_limit_everyone_of_the_account(who: Principal) -> None:
    assert because(who, control=((YES,),)) == ""
    assert because(who, control=((YES, NO),)) == DENIES["control"]
    assert because(who, control=((SILENT,),)) == NO_CONTROL
    assert because(who, control=((SILENT, YES),)) == ""
    # Every level must allow, and one that holds no policy allows nothing.
    assert because(who, control=((YES,), (YES,))) == ""
    assert because(who, control=((YES,), (SILENT,))) == NO_CONTROL
    assert because(who, control=((YES,), ())) == NO_CONTROL
    assert because(who, control=((SILENT,), (NO,))) == DENIES["control"]


def test_service_control_policies_give_nothing_and_are_told_first() -> None:
    assert because(identity=None, control=((YES,),)) == NO_IDENTITY
    assert because(identity=NO, control=((NO,),)) == DENIES["control"]
    assert because(identity=NO, control=((SILENT,),)) == DENIES["identity"]
    assert because(identity=None, control=((SILENT,),)) == NO_CONTROL
    # No grant of a resource policy goes round them.
    for name in ({"AWS": USER.arn}, "*"):
        assert because(identity=None, resource=named(name), control=((YES,),)) == ""
        assert because(identity=None, resource=named(name), control=((SILENT,),)) == NO_CONTROL
        assert because(identity=None, resource=named(name), control=((NO,),)) == DENIES["control"]


def test_service_control_policies_limit_no_service() -> None:
    for control in (((NO,),), ((SILENT,),)):
        assert because(EC2, identity=None, resource=named({"Service": EC2.arn}), control=control) == ""


def test_a_federated_user_without_a_session_policy_has_nothing() -> None:
    assert because(FEDERATED) == NO_SESSION
    assert because(FEDERATED, session=YES) == ""
    assert because(FEDERATED, identity=None, session=YES) == NO_IDENTITY


# Resource policies of the same account -------------------------------------------------------------------------------

SILENCES = [
    {"identity": None},
    {"identity": None, "boundary": SILENT},
    {"identity": None, "session": SILENT},
    {"boundary": SILENT},
    {"session": SILENT},
]


@pytest.mark.parametrize("silence", SILENCES)
def test_a_grant_to_the_user_needs_nothing_of_the_user_s_own(silence: dict[str, Any]) -> None:
    for name in (USER.arn, "AIDAANN"):
        assert because(USER, resource=named({"AWS": name}), **silence) == ""
    assert because(USER, resource=named("*"), **silence) == ""
    assert because(USER, resource=named({"AWS": ["*"]}), **silence) == ""


@pytest.mark.parametrize("silence", SILENCES)
def test_a_grant_to_the_session_needs_nothing_of_the_role_s_own(silence: dict[str, Any]) -> None:
    assert because(SESSION, resource=named({"AWS": SESSION_ARN}), **silence) == ""
    assert because(SESSION, resource=named({"AWS": "*"}), **silence) == ""


def test_a_grant_to_the_role_is_limited_by_boundary_and_session_policy() -> None:
    for name in (ROLE_ARN, "AROAOPS"):
        grant = named({"AWS": name})
        assert because(SESSION, identity=None, resource=grant) == ""
        assert because(SESSION, identity=None, boundary=YES, session=YES, resource=grant) == ""
        assert because(SESSION, identity=None, boundary=SILENT, resource=grant) == NO_IDENTITY
        assert because(SESSION, boundary=SILENT, resource=grant) == NO_BOUNDARY
        assert because(SESSION, session=SILENT, resource=grant) == NO_SESSION


@pytest.mark.parametrize("name", [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"])
@pytest.mark.parametrize("who", [USER, SESSION])
def test_a_grant_to_the_account_only_delegates(who: Principal, name: str) -> None:
    grant = named({"AWS": name})
    assert because(who, identity=None, resource=grant) == NO_IDENTITY
    assert because(who, boundary=SILENT, resource=grant) == NO_BOUNDARY
    assert because(who, session=SILENT, resource=grant) == NO_SESSION
    assert because(who, resource=grant) == ""


def test_a_grant_to_another_is_none() -> None:
    for name in (
        f"arn:aws:iam::{ACCOUNT}:user/anna",
        USER.arn.upper(),
        f"arn:aws:iam::{ACCOUNT}:user/*",
        OTHER,
        "AIDAANNA",
    ):
        assert because(USER, identity=None, resource=named({"AWS": name})) == NO_IDENTITY
    assert because(SESSION, identity=None, resource=named({"AWS": f"arn:aws:iam::{ACCOUNT}:role/ops"})) == NO_IDENTITY
    assert because(USER, identity=None, resource=named({"Service": "ec2.amazonaws.com"})) == NO_IDENTITY


def test_a_grant_whose_condition_does_not_hold_is_none() -> None:
    condition = {"StringEquals": {"aws:username": "bob"}}
    assert because(USER, identity=None, resource=named({"AWS": USER.arn}, Condition=condition)) == NO_IDENTITY


@pytest.mark.parametrize(
    ("who", "listed", "denied"),
    [
        (USER, [USER.arn, ACCOUNT], False),
        (USER, ["AIDAANN", f"arn:aws:iam::{ACCOUNT}:root"], False),
        (USER, [USER.arn], True),  # The account is looked at as well.
        (USER, [ACCOUNT], True),
        (USER, [f"arn:aws:iam::{ACCOUNT}:user/bob", ACCOUNT], True),
        (SESSION, [SESSION_ARN, ROLE_ARN, ACCOUNT], False),
        (SESSION, [ROLE_ARN, ACCOUNT], True),
        (SESSION, [SESSION_ARN, ACCOUNT], True),
        (ROOT, [ACCOUNT], False),
        (ROOT, [USER.arn], True),
        (USER, ["*"], False),
    ],
)
def test_not_principal_spares_whom_it_names_whole(who: Principal, listed: list[str], denied: bool) -> None:
    statement = {"Effect": "Deny", "NotPrincipal": {"AWS": listed}, "Action": ACTION, "Resource": "*"}
    assert (because(who, resource=doc(statement)) == DENIES["resource"]) is denied


# Across accounts --------------------------------------------------------------------------------------------------------

FAR = f"arn:aws:sqs:us-east-1:{OTHER}:queue"


def test_across_accounts_both_sides_must_allow() -> None:
    for who, name in ((USER, USER.arn), (USER, ACCOUNT), (USER, "*"), (SESSION, ROLE_ARN), (SESSION, SESSION_ARN)):
        grant = named({"AWS": name})
        assert because(who, resource=grant, on=FAR) == ""
        assert because(who, identity=None, resource=grant, on=FAR) == NO_IDENTITY
        assert because(who, boundary=SILENT, resource=grant, on=FAR) == NO_BOUNDARY
        assert because(who, session=SILENT, resource=grant, on=FAR) == NO_SESSION
    assert because(USER, on=FAR) == NO_RESOURCE
    assert because(USER, resource=named({"AWS": OTHER}), on=FAR) == NO_RESOURCE
    assert because(ROOT, identity=None, on=FAR) == NO_RESOURCE
    assert because(ROOT, identity=None, resource=named({"AWS": ACCOUNT}), on=FAR) == ""


# Trust -----------------------------------------------------------------------------------------------------------------

NO_TRUST = "because no role trust policy allows the sts:AssumeRole action"
NO_ASSUME = "because no identity-based policy allows the sts:AssumeRole action"


def assume(who: Principal, principal: Any, *, may: bool = False, role: str = ROLE_ARN, **more: Any) -> str:
    effect = more.pop("Effect", "Allow")
    trust = doc({"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", **more})
    policies = Policies((doc(allow("sts:AssumeRole")),) if may else ())
    return evaluate(Question(who, "sts:AssumeRole", role, {}), policies, trust, "trust").because


def test_a_trust_policy_must_always_allow() -> None:
    assert assume(USER, {"AWS": USER.arn}) == ""
    assert assume(USER, {"AWS": "*"}) == ""
    assert assume(USER, {"AWS": ACCOUNT}, may=True) == ""
    assert assume(USER, {"AWS": ACCOUNT}) == NO_ASSUME
    assert assume(USER, {"AWS": OTHER}, may=True) == NO_TRUST
    assert assume(USER, {"Service": "ec2.amazonaws.com"}, may=True) == NO_TRUST
    assert assume(USER, {"AWS": USER.arn}, may=True, Effect="Deny") == "with an explicit deny in the role trust policy"
    assert assume(ROOT, {"AWS": OTHER}) == NO_TRUST
    assert assume(ROOT, {"AWS": ACCOUNT}) == ""
    far = f"arn:aws:iam::{OTHER}:role/ops"
    assert assume(USER, {"AWS": USER.arn}, role=far) == NO_ASSUME
    assert assume(USER, {"AWS": USER.arn}, role=far, may=True) == ""


def test_a_service_needs_the_trust_alone() -> None:
    assert assume(EC2, {"Service": "ec2.amazonaws.com"}) == ""
    assert assume(EC2, {"Service": ["batch.amazonaws.com", "ec2.amazonaws.com"]}) == ""
    assert assume(EC2, {"Service": "ecs-tasks.amazonaws.com"}) == NO_TRUST
    assert assume(EC2, {"AWS": ACCOUNT}, may=True) == NO_TRUST
    denies = "with an explicit deny in the role trust policy"
    assert assume(EC2, {"Service": "ec2.amazonaws.com"}, Effect="Deny") == denies


# Actions and resources ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "action", "matches"),
    [
        ("s3:GetObject", "s3:GetObject", True),
        ("S3:GETOBJECT", "s3:GetObject", True),
        ("s3:getobject", "s3:GetObject", True),
        ("*", "s3:GetObject", True),
        ("**", "s3:GetObject", True),
        ("s3:*", "s3:GetObject", True),
        ("s3:Get*", "s3:GetObject", True),
        ("s3:*Object", "s3:GetObject", True),
        ("s3:Get?bject", "s3:GetObject", True),
        ("s3:GetObject?", "s3:GetObject", False),
        ("s3:GetObject*", "s3:GetObject", True),
        ("s3:Get", "s3:GetObject", False),
        ("s3.GetObject", "s3:GetObject", False),
        ("s3-object-lambda:*", "s3:GetObject", False),
    ],
)
def test_actions(pattern: str, action: str, matches: bool) -> None:
    held = Policies((doc(allow(pattern)),))
    assert evaluate(Question(USER, action, "*", {}), held).allowed is matches
    but = Policies((doc({"Effect": "Allow", "NotAction": pattern, "Resource": "*"}),))
    assert evaluate(Question(USER, action, "*", {}), but).allowed is not matches


ROLES = f"arn:aws:iam::{ACCOUNT}:role"


@pytest.mark.parametrize(
    ("pattern", "resource", "matches"),
    [
        ("*", "*", True),
        ("*", f"{ROLES}/ops", True),
        (f"{ROLES}/ops", f"{ROLES}/ops", True),
        (f"{ROLES}/ops", f"{ROLES}/Ops", False),
        (f"{ROLES}/ops", f"{ROLES}/team/ops", False),
        (f"{ROLES}/*", f"{ROLES}/team/ops", True),
        (f"{ROLES}/*/ops", f"{ROLES}/ops", False),
        (f"{ROLES}*", f"{ROLES}/ops", True),
        (f"{ROLES}/o?s", f"{ROLES}/ops", True),
        (f"{ROLES}/o.s", f"{ROLES}/ops", False),
        (f"{ROLES}/*", "*", False),  # An action without a resource type is allowed by `*` alone.
        ("arn:aws:iam::*:role/ops", f"{ROLES}/ops", True),
        ("arn:aws:iam:*:role/ops", f"{ROLES}/ops", False),
        ("arn:*:*:*:*:*", f"{ROLES}/ops", True),
        ("arn:*", f"{ROLES}/ops", True),  # Too short: filled up.
        ("arn:aws:s3:::bucket*", "arn:aws:s3:::bucket/a:b/c", True),
        ("arn:aws:s3:::bucket/${aws:username}/*", "arn:aws:s3:::bucket/ann/x", True),
        ("arn:aws:s3:::bucket/${aws:username}/*", "arn:aws:s3:::bucket/bob/x", False),
        ("arn:aws:s3:::bucket/${aws:none}*", "arn:aws:s3:::bucket/", False),
        ("arn:aws:s3:::bucket/${aws:none, 'any'}", "arn:aws:s3:::bucket/any", True),
        ("arn:aws:s3:::bucket/${star}", "arn:aws:s3:::bucket/x", False),
        ("arn:aws:s3:::bucket/${*}", "arn:aws:s3:::bucket/*", True),
        ("arn:aws:s3:::bucket/${*}", "arn:aws:s3:::bucket/x", False),
        ("arn:aws:iam::${aws:principalaccount}:role/ops", f"{ROLES}/ops", False),  # Variables in the sixth part only.
    ],
)
def test_resources(pattern: str, resource: str, matches: bool) -> None:
    context = {"aws:username": "ann", "star": "*", "aws:principalaccount": ACCOUNT}
    held = Policies((doc(allow(ACTION, pattern)),))
    assert evaluate(Question(USER, ACTION, resource, context), held).allowed is matches
    but = Policies((doc({"Effect": "Allow", "Action": ACTION, "NotResource": pattern}),))
    assert evaluate(Question(USER, ACTION, resource, context), but).allowed is not matches


def test_a_deny_on_a_resource_whose_variable_has_no_value_denies_nothing() -> None:
    held = Policies((doc(allow("*"), deny("*", "arn:aws:s3:::bucket/${aws:none}*")),))
    assert evaluate(Question(USER, ACTION, "arn:aws:s3:::bucket/x", {}), held).allowed
    fires = Policies((doc(allow("*"), deny("*", Condition={"StringNotEquals": {"aws:none": "${aws:none}"}})),))
    assert not evaluate(Question(USER, ACTION, "arn:aws:s3:::bucket/x", {}), fires).allowed


# Speed -------------------------------------------------------------------------------------------------------------------


def test_ten_policies_of_ten_statements_are_decided_in_time() -> None:
    """All hundred speak of the action, with wildcards, variables and conditions; the last one allows. The bar is 50 us."""

    def statement(i: int, j: int) -> dict[str, Any]:
        return {
            "Effect": "Allow" if (i + j) % 7 else "Deny",
            "Action": [f"batch:Describe{j}*", "batch:SubmitJob", "iam:Get*"],
            "Resource": [
                f"arn:aws:batch:*:{ACCOUNT}:job-queue/team{i}-{j}-*",
                f"arn:aws:batch:us-east-1:{ACCOUNT}:job-definition/${{aws:username}}-{i}{j}*",
            ],
            "Condition": {
                "StringLike": {"aws:UserAgent": f"*tool{j}*"},
                "IpAddress": {"aws:SourceIp": ["10.0.0.0/8", f"192.168.{j}.0/24"]},
            },
        }

    held = Policies(tuple(doc(*(statement(i, j) for j in range(10))) for i in range(10)))
    context = {"aws:username": "ann", "aws:useragent": "aws-cli/2 tool99", "aws:sourceip": "10.1.2.3"}
    queue = f"arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/team9-9-1"
    question = Question(USER, "batch:SubmitJob", queue, context)
    assert evaluate(question, held).allowed
    # Of the processor's time, the best of many short tries: other work on the machine spoils most of them, not all.
    assert min(_seconds(lambda: evaluate(question, held), 50) for _ in range(30)) < 50e-6


def test_a_decision_that_was_asked_before_is_looked_up() -> None:
    held = Policies(tuple(doc(*(allow(f"s3:Get{i}{j}*") for j in range(10)), allow(ACTION)) for i in range(10)))
    question = Question(USER, ACTION, RESOURCE, {})
    assert decide(question, held).allowed
    assert min(_seconds(lambda: decide(question, held), 500) for _ in range(30)) < 5e-6


def _seconds(work: Any, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times
