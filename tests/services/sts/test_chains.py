"""What goes on along a chain of roles, what sessions may ask of STS, and what is left of those whose owner is gone."""

from __future__ import annotations

import pytest

from accounts import Account
from in_process import ACCOUNT, ROOT
from longshore.aws.ids import account_of_access_key
from people import allow, document, trust
from refusals import refused, unchecked

RESERVED = "aws: prefixed tag key names are not allowed for external use."
BASE = f"arn:aws:iam::{ACCOUNT}"
TAGGED = ["sts:AssumeRole", "sts:TagSession"]
NAMED = ["sts:AssumeRole", "sts:SetSourceIdentity"]


def make_role(house, name, text, **more):
    return house.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=text, **more)["Role"]


def assume(client, role, name="se", **more):
    return client.assume_role(RoleArn=role["Arn"], RoleSessionName=name, **more)


def not_authorized(arn, action, role):
    return f"User: {arn} is not authorized to perform: {action} on resource: {role['Arn']}"


def test_transitive_tags_are_asked_about_at_each_link(house, person, client_of) -> None:
    anna = person("anna")
    first = make_role(house, "first", trust({"AWS": anna.arn}, TAGGED))
    second = make_role(house, "second", trust({"AWS": first["Arn"]}))
    tags = [{"Key": "Team", "Value": "a"}, {"Key": "other", "Value": "b"}]
    passed = client_of(assume(anna.client("sts"), first, Tags=tags, TransitiveTagKeys=["team"]), "sts")
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/first/se"
    with refused("AccessDenied", not_authorized(session, "sts:TagSession", second), status=403):
        assume(passed, second)
    only = {"StringEquals": {"aws:RequestTag/team": "a"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}}
    text = document(
        {"Effect": "Allow", "Principal": {"AWS": first["Arn"]}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"AWS": first["Arn"]}, "Action": "sts:TagSession", "Condition": only},
    )
    house.client("iam").update_assume_role_policy(RoleName="second", PolicyDocument=text)
    chained = client_of(assume(passed, second), "iam")
    sees = document(
        allow("iam:ListRoles", Condition={"StringEquals": {"aws:PrincipalTag/team": "a"}}),
        allow("iam:ListUsers", Condition={"Null": {"aws:PrincipalTag/other": "false"}}),
    )
    house.client("iam").put_role_policy(RoleName="second", PolicyName="p", PolicyDocument=sees)
    chained.list_roles()
    with refused("AccessDenied", status=403):
        chained.list_users()  # What is not transitive ends with its session.
    # A session without tags that go on needs no further right.
    plain = client_of(assume(anna.client("sts"), first, Tags=tags), "sts")
    house.client("iam").update_assume_role_policy(RoleName="second", PolicyDocument=trust({"AWS": first["Arn"]}))
    assume(plain, second)


def test_a_source_identity_is_asked_about_at_each_link(house, person, client_of) -> None:
    anna = person("anna")
    first = make_role(house, "first", trust({"AWS": anna.arn}, NAMED))
    second = make_role(house, "second", trust({"AWS": first["Arn"]}))
    named = client_of(assume(anna.client("sts"), first, SourceIdentity="anna"), "sts")
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/first/se"
    with refused("AccessDenied", not_authorized(session, "sts:SetSourceIdentity", second), status=403):
        assume(named, second)
    for wanted, taken in (("bert", False), ("anna", True)):
        text = trust({"AWS": first["Arn"]}, NAMED, Condition={"StringEqualsIfExists": {"sts:SourceIdentity": wanted}})
        house.client("iam").update_assume_role_policy(RoleName="second", PolicyDocument=text)
        if taken:
            assert assume(named, second)["SourceIdentity"] == "anna"
        else:
            with refused("AccessDenied", status=403):
                assume(named, second)
    assume(client_of(assume(anna.client("sts"), first), "sts"), second)


def test_short_sessions_ask_little_of_sts(house, person, client_of) -> None:
    anna = person("anna")
    anna.may(allow("*"))
    key = anna.key["AccessKeyId"]
    sessions = {
        "user": anna.client("sts").get_session_token(),
        "root": house.client("sts").get_session_token(),
        "guest": anna.client("sts").get_federation_token(Name="guest", Policy=document(allow("*"))),
    }
    for answer in sessions.values():
        sts = client_of(answer, "sts")
        sts.get_caller_identity()
        for call, request in (
            (sts.get_access_key_info, {"AccessKeyId": key}),
            (sts.decode_authorization_message, {"EncodedMessage": "x"}),
        ):
            with refused("AccessDenied", status=403) as caught:
                call(**request)
            assert caught.value.response["Error"]["Message"].endswith("with session credentials")


def test_whose_a_key_is_whatever_account_it_is_of(house, person, client_of) -> None:
    anna, bert = person("anna"), person("bert")
    sts = anna.client("sts")
    with refused("AccessDenied", status=403):
        sts.get_access_key_info(AccessKeyId=bert.key["AccessKeyId"])
    anna.may(allow("sts:GetAccessKeyInfo"))
    other = Account(house, "000000000042")
    session = house.client("sts").get_federation_token(Name="guest")["Credentials"]
    of_accounts = {
        anna.key["AccessKeyId"]: ACCOUNT,
        bert.key["AccessKeyId"]: ACCOUNT,
        session["AccessKeyId"]: ACCOUNT,
        ROOT.access_key_id: ACCOUNT,  # Given to the house: by its look it would be another's.
        other.key_id: "000000000042",
        "ASIAY34FZKBOKMUTVV7A": "609629065308",  # AWS's own, whose account is known: it is not here.
    }
    assert account_of_access_key(ROOT.access_key_id) not in (None, ACCOUNT)
    for key, account in of_accounts.items():
        assert sts.get_access_key_info(AccessKeyId=key)["Account"] == account
        assert other.client("sts").get_access_key_info(AccessKeyId=key)["Account"] == account
    house.client("iam").delete_access_key(UserName="bert", AccessKeyId=bert.key["AccessKeyId"])
    assert sts.get_access_key_info(AccessKeyId=bert.key["AccessKeyId"])["Account"] == ACCOUNT


def test_keys_that_tell_no_account(house, person) -> None:
    anna = person("anna")
    anna.may(allow("sts:GetAccessKeyInfo"))
    sts = unchecked(anna.client("sts"))
    for key in ("AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE", "AKIA7777777777777777", "A" * 16, "A" * 128):
        with refused("ValidationError", f"The access key {key} is not known.", status=400):
            sts.get_access_key_info(AccessKeyId=key)
    for key in ("A", "AKIA-0000-0000-0000-0000", "A" * 129):
        with refused("ValidationError", status=400) as caught:
            sts.get_access_key_info(AccessKeyId=key)
        assert "at 'accessKeyId' failed to satisfy constraint" in caught.value.response["Error"]["Message"]


def test_a_guest_s_tags_are_asked_about(house, person, client_of) -> None:
    anna = person("anna")
    anna.may(allow("sts:GetFederationToken"))
    tags = [{"Key": "team", "Value": "a"}]
    with refused("AccessDenied", status=403) as caught:
        anna.client("sts").get_federation_token(Name="guest", Tags=tags)
    assert caught.value.response["Error"]["Message"] == (
        f"User: {anna.arn} is not authorized to perform: sts:TagSession on resource: "
        f"arn:aws:sts::{ACCOUNT}:federated-user/guest because no identity-based policy allows the sts:TagSession action"
    )
    anna.may(allow(["sts:GetFederationToken", "sts:TagSession"]))
    assert anna.client("sts").get_federation_token(Name="guest", Tags=tags)["PackedPolicySize"] > 0


def test_tags_of_aws_s_own_and_too_many_of_them(house, person) -> None:
    anna = person("anna")
    role = make_role(house, "ops", trust({"AWS": anna.arn}, TAGGED))
    sts = unchecked(anna.client("sts"))
    for key in ("AWS:x", "aws:", "aWs:cloudformation:stack-name"):
        with refused("InvalidParameterValue", RESERVED, status=400):
            assume(sts, role, Tags=[{"Key": key, "Value": "a"}])
        with refused("InvalidParameterValue", RESERVED, status=400):
            unchecked(house.client("sts")).get_federation_token(Name="guest", Tags=[{"Key": key, "Value": "a"}])
    assume(sts, role, Tags=[{"Key": "aws", "Value": "aws:a"}, {"Key": "x-aws:y", "Value": ""}])
    fifty = [{"Key": f"key-{at}", "Value": str(at)} for at in range(50)]
    answer = assume(sts, role, Tags=fifty)
    assert 0 < answer["PackedPolicySize"] <= 100
    with refused("ValidationError", status=400):
        assume(sts, role, Tags=[*fifty, {"Key": "one-more", "Value": ""}])
    # As AWS says it: plain text within its limits may not fit when it is packed.
    noise = [{"Key": f"k{at}", "Value": house.house.ids.secret(200).replace("+", "-")} for at in range(50)]
    with refused("PackedPolicyTooLarge", status=400) as caught:
        assume(sts, role, Tags=noise)
    assert caught.value.response["Error"]["Message"].endswith("% of allotted space, please use smaller policy.")


@pytest.mark.parametrize("kind", ["user", "role"])
def test_what_is_left_of_one_who_is_gone_takes_no_role_that_trusted_him(house, person, client_of, kind) -> None:
    """Trust policies keep unique ids, and the session of one who was deleted still bears his."""
    iam = house.client("iam")
    anna = person("anna")
    if kind == "user":
        session, trusted = client_of(anna.client("sts").get_session_token(), "sts"), anna.arn
    else:
        hop = make_role(house, "hop", trust({"AWS": anna.arn}))
        session, trusted = client_of(assume(anna.client("sts"), hop), "sts"), hop["Arn"]
    role = make_role(house, "ops", trust({"AWS": trusted}))
    assume(session, role)
    if kind == "user":
        iam.delete_access_key(UserName="anna", AccessKeyId=anna.key["AccessKeyId"])
        iam.delete_user(UserName="anna")
    else:
        iam.delete_role(RoleName="hop")
    with refused("AccessDenied", status=403):
        assume(session, role)
    if kind == "user":
        person("anna")
    else:
        make_role(house, "hop", trust({"AWS": anna.arn}))
    with refused("AccessDenied", status=403):
        assume(session, role)


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("assume_role_with_saml",
         {"RoleArn": f"{BASE}:role/ops", "PrincipalArn": f"{BASE}:saml-provider/p", "SAMLAssertion": "abcd"}),
        ("assume_role_with_web_identity",
         {"RoleArn": f"{BASE}:role/ops", "RoleSessionName": "se", "WebIdentityToken": "token"}),
        ("assume_root", {"TargetPrincipal": ACCOUNT, "TaskPolicyArn": {"arn": "arn:aws:iam::aws:policy/root-task/x"}}),
    ],
)  # fmt: skip
def test_what_is_not_offered_says_so(house, call, request_) -> None:
    with refused("InvalidAction", status=400):
        getattr(house.client("sts"), call)(**request_)
