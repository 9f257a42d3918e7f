"""Who may take a role, on which conditions, for how long, and what the session then is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from in_process import ACCOUNT
from people import EC2_TRUST, allow, deny, document, trust
from refusals import refused, unchecked

BASE = f"arn:aws:iam::{ACCOUNT}"
ROLE = f"{BASE}:role/team/ops"


def make_role(house, text, name="ops", path="/team/", **more):
    return house.client("iam").create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=text, **more)["Role"]


def assume(client, role=ROLE, name="session-1", **more):
    return client.assume_role(RoleArn=role, RoleSessionName=name, **more)


def not_authorized(arn, action="sts:AssumeRole", role=ROLE):
    return f"User: {arn} is not authorized to perform: {action} on resource: {role}"


def test_a_session_has_the_fields_of_aws_and_an_arn_without_the_path(house, person, client_of) -> None:
    anna = person("anna")
    role = make_role(house, trust({"AWS": anna.arn}))
    answer = assume(anna.client("sts"))
    assert set(answer) == {"Credentials", "AssumedRoleUser", "ResponseMetadata"}
    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role['RoleId']}:session-1",
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/session-1",
    }
    given = answer["Credentials"]
    assert given["AccessKeyId"].startswith("ASIA") and len(given["AccessKeyId"]) == 20
    assert abs(given["Expiration"] - (house.clock.now() + timedelta(hours=1))) <= timedelta(seconds=1)
    who = client_of(answer, "sts").get_caller_identity()
    assert (who["Arn"], who["UserId"]) == (answer["AssumedRoleUser"]["Arn"], f"{role['RoleId']}:session-1")


@pytest.mark.parametrize(
    ("principal", "identity", "allowed"),
    [
        # What the trust policy names; what anna's own policies say; whether she gets in.
        ("user", None, True),
        ("user", "allow", True),
        ("user", "deny", False),
        ("account", None, False),
        ("account", "allow", True),
        ("account", "deny", False),
        ("number", "allow", True),
        ("anyone", None, True),
        ("anyone", "deny", False),
        ("other-user", "allow", False),
        ("other-account", "allow", False),
        ("service", "allow", False),
    ],
)
def test_trust_and_identity_decide_together(house, person, principal, identity, allowed) -> None:
    anna, bert = person("anna"), person("bert")
    named = {
        "user": {"AWS": anna.arn},
        "account": {"AWS": f"{BASE}:root"},
        "number": {"AWS": ACCOUNT},
        "anyone": {"AWS": "*"},
        "other-user": {"AWS": bert.arn},
        "other-account": {"AWS": "arn:aws:iam::999999999999:root"},
        "service": {"Service": "batch.amazonaws.com"},
    }[principal]
    make_role(house, trust(named))
    if identity == "allow":
        anna.may(allow("sts:AssumeRole", ROLE))
    elif identity == "deny":
        anna.may(deny("sts:AssumeRole", ROLE))
    if allowed:
        assert assume(anna.client("sts"))["Credentials"]
    elif identity == "deny":
        message = f"{not_authorized(anna.arn)} with an explicit deny in an identity-based policy"
        with refused("AccessDenied", message, status=403):
            assume(anna.client("sts"))
    else:
        with refused("AccessDenied", status=403) as caught:
            assume(anna.client("sts"))
        assert caught.value.response["Error"]["Message"].startswith(not_authorized(anna.arn))


def test_a_missing_role_is_told_in_the_same_words_as_one_that_does_not_trust(house, person) -> None:
    anna, bert = person("anna"), person("bert")
    anna.may(allow("sts:AssumeRole"))
    make_role(house, trust({"AWS": bert.arn}))
    with refused("AccessDenied", not_authorized(anna.arn), status=403):
        assume(anna.client("sts"))
    gone = f"{BASE}:role/gone"
    with refused("AccessDenied", not_authorized(anna.arn, role=gone), status=403):
        assume(anna.client("sts"), gone)
    # The role is known by its whole ARN, path included.
    short = f"{BASE}:role/ops"
    with refused("AccessDenied", not_authorized(anna.arn, role=short), status=403):
        assume(anna.client("sts"), short)


def test_an_explicit_deny_in_the_trust_policy_says_so(house, person) -> None:
    anna = person("anna")
    text = document(
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"},
        {"Effect": "Deny", "Principal": {"AWS": anna.arn}, "Action": "sts:AssumeRole"},
    )
    anna.may(allow("sts:*"))
    make_role(house, text)
    message = f"{not_authorized(anna.arn)} with an explicit deny in the role trust policy"
    with refused("AccessDenied", message, status=403):
        assume(anna.client("sts"))


def test_the_external_id_must_be_the_agreed_one(house, person) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}, Condition={"StringEquals": {"sts:ExternalId": "agreed"}}))
    sts = anna.client("sts")
    for more in ({}, {"ExternalId": "other"}):
        with refused("AccessDenied", status=403):
            assume(sts, **more)
    assume(sts, ExternalId="agreed")


def test_conditions_of_trust_see_the_caller_and_the_session_name(house, person) -> None:
    anna = person("anna", Tags=[{"Key": "team", "Value": "a"}])
    make_role(
        house,
        trust(
            {"AWS": "*"},
            Condition={
                "StringEquals": {"aws:PrincipalTag/team": "a", "sts:RoleSessionName": "${aws:username}"},
                "ArnLike": {"aws:PrincipalArn": f"{BASE}:user/*"},
            },
        ),
    )
    with refused("AccessDenied", status=403):
        assume(anna.client("sts"), name="somebody")
    assume(anna.client("sts"), name="anna")


def test_a_user_made_anew_under_the_name_is_not_the_trusted_one(house, person) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}))
    assume(anna.client("sts"))
    iam = house.client("iam")
    iam.delete_access_key(UserName="anna", AccessKeyId=anna.key["AccessKeyId"])
    iam.delete_user(UserName="anna")
    again = person("anna")
    with refused("AccessDenied", status=403):
        assume(again.client("sts"))


def test_the_root_user_takes_no_roles(house) -> None:
    make_role(house, trust({"AWS": "*"}))
    for role in (ROLE, f"{BASE}:role/gone"):
        with refused("AccessDenied", "Roles may not be assumed by root accounts.", status=403):
            assume(house.client("sts"), role)


def test_what_is_no_role_arn_is_told_before_any_policy(house, person) -> None:
    sts = person("anna").client("sts")
    for wrong in ("this-is-not-an-arn-at-all", f"{BASE}:user/anna-who-is-no-role"):
        with refused("ValidationError", f"{wrong} is invalid", status=400):
            assume(sts, wrong)


@pytest.mark.parametrize(
    ("maximum", "asked", "message"),
    [
        (3600, 3600, None),
        (7200, 7200, None),
        (3600, 3601, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."),
        (43200, 43200, None),
        (
            43200, 43201,
            "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: "
            "Member must have value less than or equal to 43200",
        ),
        (
            3600, 899,
            "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 900",
        ),
    ],
)  # fmt: skip
def test_durations_are_within_those_of_the_role(house, person, maximum, asked, message) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}), MaxSessionDuration=maximum)
    sts = unchecked(anna.client("sts"))
    if message is None:
        given = assume(sts, DurationSeconds=asked)["Credentials"]
        assert abs((given["Expiration"] - house.clock.now()).total_seconds() - asked) <= 1
    else:
        with refused("ValidationError", message, status=400):
            assume(sts, DurationSeconds=asked)


def test_a_chain_of_roles_lasts_an_hour_at_most(house, person, client_of) -> None:
    anna = person("anna")
    first = make_role(house, trust({"AWS": anna.arn}), name="first", path="/", MaxSessionDuration=43200)
    make_role(house, trust({"AWS": first["Arn"]}), MaxSessionDuration=43200)
    session = client_of(assume(anna.client("sts"), first["Arn"], DurationSeconds=43200), "sts")
    message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
    with refused("ValidationError", message, status=400):
        assume(session, DurationSeconds=3601)
    assume(session, DurationSeconds=3600)
    with refused("ValidationError", message, status=400):
        assume(client_of(anna.client("sts").get_session_token(), "sts"), first["Arn"], DurationSeconds=7200)


def test_a_session_does_what_the_role_may_and_the_session_policy_too(house, person, client_of) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}))
    iam = house.client("iam")
    iam.put_role_policy(
        RoleName="ops", PolicyName="p", PolicyDocument=document(allow(["iam:ListRoles", "iam:ListUsers"]))
    )
    sts = anna.client("sts")
    whole = client_of(assume(sts), "iam")
    whole.list_roles(), whole.list_users()
    answer = assume(sts, Policy=document(allow(["iam:ListRoles", "iam:ListPolicies"])))
    assert 0 < answer["PackedPolicySize"] <= 100
    narrow = client_of(answer, "iam")
    narrow.list_roles()
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/session-1"
    with refused(
        "AccessDenied",
        f"User: {session} is not authorized to perform: iam:ListUsers on resource: {BASE}:user/ "
        "because no session policy allows the iam:ListUsers action",
        status=403,
    ):
        narrow.list_users()
    with refused("AccessDenied", status=403):
        narrow.list_policies()  # Both must allow.
    arn = iam.create_policy(PolicyName="users", PolicyDocument=document(allow("iam:ListUsers")))["Policy"]["Arn"]
    managed = client_of(assume(sts, PolicyArns=[{"arn": arn}]), "iam")
    managed.list_users()
    with refused("AccessDenied", status=403):
        managed.list_roles()
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("iam:ListRoles")), SetAsDefault=True)
    managed.list_roles()


def test_session_policies_that_cannot_be(house, person) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}))
    sts = unchecked(anna.client("sts"))
    with refused("MalformedPolicyDocument", status=400):
        assume(sts, Policy="{")
    with refused("PackedPolicyTooLarge", status=400):
        assume(sts, Policy=document(allow("s3:*", ["arn:aws:s3:::" + "b" * 60] * 40)))
    with refused("NoSuchEntity"):
        assume(sts, PolicyArns=[{"arn": f"{BASE}:policy/gone"}])
    with refused("ValidationError", status=400):
        assume(sts, PolicyArns=[{"arn": f"{BASE}:policy/p{index}"} for index in range(11)])


def test_changes_of_the_role_reach_its_running_sessions(house, person, client_of) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}))
    iam = house.client("iam")
    session = client_of(assume(anna.client("sts")), "iam")
    with refused("AccessDenied", status=403):
        session.list_roles()
    iam.attach_role_policy(RoleName="ops", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    session.list_roles()
    # Revoking sessions, as the console does: a deny for tokens issued before now.
    before = house.clock.now() + timedelta(seconds=1)
    text = document(deny("*", Condition={"DateLessThan": {"aws:TokenIssueTime": before.isoformat()}}))
    iam.put_role_policy(RoleName="ops", PolicyName="AWSRevokeOlderSessions", PolicyDocument=text)
    with refused("AccessDenied", status=403):
        session.list_roles()
    house.pass_time(5)
    later = client_of(assume(anna.client("sts")), "iam")
    later.list_roles()
    iam.delete_role_policy(RoleName="ops", PolicyName="AWSRevokeOlderSessions")
    iam.detach_role_policy(RoleName="ops", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    iam.delete_role(RoleName="ops")
    make_role(house, trust({"AWS": anna.arn}))
    iam.attach_role_policy(RoleName="ops", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    with refused("AccessDenied", status=403):  # The role's sessions ended with it; the new one is another.
        later.list_roles()


def test_session_tags_need_their_own_action_and_are_seen_by_policies(house, person, client_of) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}), Tags=[{"Key": "team", "Value": "role"}])
    sts = anna.client("sts")
    tags = [{"Key": "Team", "Value": "a"}]
    with refused("AccessDenied", not_authorized(anna.arn, "sts:TagSession"), status=403):
        assume(sts, Tags=tags)
    iam = house.client("iam")
    iam.update_assume_role_policy(
        RoleName="ops", PolicyDocument=trust({"AWS": anna.arn}, ["sts:AssumeRole", "sts:TagSession"])
    )
    text = document(allow("iam:ListRoles", Condition={"StringEquals": {"aws:PrincipalTag/team": "a"}}))
    iam.put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=text)
    client_of(assume(sts, Tags=tags), "iam").list_roles()
    with refused("AccessDenied", status=403):
        client_of(assume(sts), "iam").list_roles()


def test_tags_that_cannot_be(house, person, client_of) -> None:
    anna = person("anna")
    both = ["sts:AssumeRole", "sts:TagSession"]
    first = make_role(house, trust({"AWS": anna.arn}, both), name="first", path="/")
    make_role(house, trust({"AWS": first["Arn"]}, both))
    sts = anna.client("sts")
    with refused(
        "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive.", status=400
    ):
        assume(sts, first["Arn"], Tags=[{"Key": "k", "Value": "1"}, {"Key": "K", "Value": "2"}])
    with refused(
        "InvalidParameterValue", "The specified transitive tag key must be included in the requested tags.", status=400
    ):
        assume(sts, first["Arn"], Tags=[{"Key": "k", "Value": "1"}], TransitiveTagKeys=["other"])
    passed = assume(sts, first["Arn"], Tags=[{"Key": "k", "Value": "1"}], TransitiveTagKeys=["k"])
    chained = client_of(passed, "sts")
    with refused(
        "InvalidParameterValue",
        "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the "
        "calling session.",
        status=400,
    ):
        assume(chained, Tags=[{"Key": "K", "Value": "2"}])
    text = document(allow("iam:ListRoles", Condition={"StringEquals": {"aws:PrincipalTag/k": "1"}}))
    house.client("iam").put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=text)
    client_of(assume(chained), "iam").list_roles()  # It went on along the chain.


def test_the_source_identity_stays_what_it_was(house, person, client_of) -> None:
    anna = person("anna")
    both = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    first = make_role(house, trust({"AWS": anna.arn}, both), name="first", path="/")
    make_role(house, trust({"AWS": first["Arn"]}, both))
    answer = assume(anna.client("sts"), first["Arn"], SourceIdentity="anna@home")
    assert answer["SourceIdentity"] == "anna@home"
    chained = client_of(answer, "sts")
    assert assume(chained)["SourceIdentity"] == "anna@home"
    with refused("AccessDenied", status=403):
        assume(chained, SourceIdentity="somebody")


def test_a_code_of_a_second_factor_is_never_right(house, person) -> None:
    anna = person("anna")
    make_role(house, trust({"AWS": anna.arn}))
    with refused("AccessDenied", status=403):
        assume(anna.client("sts"), SerialNumber=f"{BASE}:mfa/anna", TokenCode="123456")
    with refused("AccessDenied", status=403):
        anna.client("sts").get_session_token(SerialNumber=f"{BASE}:mfa/anna", TokenCode="123456")


def test_services_take_roles_that_trust_them_and_no_others(house) -> None:
    make_role(house, EC2_TRUST, MaxSessionDuration=3600)

    def take(service):
        turn = house.house.turn("ec2")
        return house.loop.run_until_complete(_awaited(turn.write(lambda call: call.assume(ROLE, service))))

    session = take("ec2.amazonaws.com")
    assert session.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/ec2" and session.role_arn == ROLE
    with pytest.raises(Exception, match=r"batch.amazonaws.com is not authorized to perform: sts:AssumeRole"):
        take("batch.amazonaws.com")


async def _awaited(awaitable):
    return await awaitable
