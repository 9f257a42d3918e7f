"""Several accounts on one server: their root keys, and roles that are taken from one to the other."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import Account, ask
from in_process import ACCOUNT, InProcessHouse
from people import Person, allow, document, trust
from refusals import refused

OTHER = "222222222222"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/ops"
BOB = f"arn:aws:iam::{OTHER}:user/bob"
NO_IDENTITY = "because no identity-based policy allows the sts:AssumeRole action"


@pytest.fixture
def other(house: InProcessHouse) -> Account:
    return Account(house, OTHER)


@pytest.fixture
def bob(house: InProcessHouse, other: Account) -> Person:
    return Person(house, "bob", iam=other.client("iam"))


def assume(person: Person, role: str = ROLE, **more: Any) -> Any:
    return person.client("sts").assume_role(RoleArn=role, RoleSessionName="se", **more)


def make_role(house: InProcessHouse, text: str) -> Any:
    iam = house.client("iam")
    return iam.create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=text)["Role"]


def test_an_account_has_a_root_key_of_its_own(house: InProcessHouse, other: Account) -> None:
    who = other.client("sts").get_caller_identity()
    assert (who["Account"], who["UserId"], who["Arn"]) == (OTHER, OTHER, f"arn:aws:iam::{OTHER}:root")
    assert other.client("iam").create_user(UserName="ann")["User"]["Arn"] == f"arn:aws:iam::{OTHER}:user/ann"
    assert house.client("iam").list_users()["Users"] == []
    with refused("SignatureDoesNotMatch", status=403):
        house.client("sts", other.key_id, "wrong").get_caller_identity()


def test_accounts_are_listed_without_their_keys(house: InProcessHouse, other: Account) -> None:
    made = Account(house, name="third")
    assert len(made.account) == 12 and made.account.isdigit()
    status, answer = ask(house, "GET", "/_longshore/accounts")
    assert status == 200
    assert [each["account"] for each in answer["accounts"]] == [ACCOUNT, *sorted((OTHER, made.account))]
    assert {each["account"]: each["name"] for each in answer["accounts"]}[made.account] == "third"
    assert other.secret not in str(answer) and other.key_id not in str(answer)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"account": ACCOUNT}, "DuplicateAccountException"),
        ({"account": OTHER}, "DuplicateAccountException"),
        ({"account": "12"}, "InvalidInputException"),
        ({"account": "１２３４５６７８９０１２"}, "InvalidInputException"),
        ({"account": 7}, "InvalidInputException"),
        ({"name": "n" * 51}, "InvalidInputException"),
        ({"name": ["n"]}, "InvalidInputException"),
    ],
)
def test_accounts_that_cannot_be(house: InProcessHouse, other: Account, body: dict[str, Any], code: str) -> None:
    status, answer = ask(house, "POST", "/_longshore/accounts", body)
    assert (status, answer["__type"]) == (400, code)


def test_only_the_first_account_makes_accounts_and_only_who_may(house: InProcessHouse, other: Account) -> None:
    asked = [
        ("POST", "/_longshore/accounts"),
        ("GET", "/_longshore/accounts"),
        ("GET", f"/_longshore/accounts/{OTHER}/service-control-policies"),
        ("PUT", f"/_longshore/accounts/{OTHER}/service-control-policies"),
    ]
    anna = Person(house, "anna")
    for method, path in asked:
        status, answer = ask(house, method, path, key=(other.key_id, other.secret, None))
        assert (status, answer["__type"]) == (400, "AccessDeniedException"), (method, path)
        status, answer = ask(house, method, path, key=(anna.key["AccessKeyId"], anna.key["SecretAccessKey"], None))
        assert answer["__type"] in ("AccessDenied", "AccessDeniedException"), (method, path)
    anna.may(allow("organizations:ListAccounts"))
    assert (
        ask(house, "GET", "/_longshore/accounts", key=(anna.key["AccessKeyId"], anna.key["SecretAccessKey"], None))[0]
        == 200
    )


@pytest.mark.parametrize(
    ("trusted", "identity", "because"),
    [
        # Whom the trust policy names; what bob's own policies say; why he does not get in (None: he does).
        ({"AWS": BOB}, allow("sts:AssumeRole", ROLE), None),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, allow("sts:AssumeRole", ROLE), None),
        ({"AWS": OTHER}, allow("sts:AssumeRole", ROLE), None),
        ({"AWS": "*"}, allow("sts:AssumeRole", ROLE), None),
        # Across accounts both sides must allow, even where the trust policy names the user itself.
        ({"AWS": BOB}, None, NO_IDENTITY),
        ({"AWS": "*"}, None, NO_IDENTITY),
        ({"AWS": OTHER}, allow("sts:AssumeRole", ROLE + "2"), NO_IDENTITY),
        ({"AWS": ACCOUNT}, allow("sts:AssumeRole", ROLE), ""),
        ({"Service": "ec2.amazonaws.com"}, allow("sts:AssumeRole", ROLE), ""),
    ],
)  # fmt: skip
def test_across_accounts_both_sides_are_asked(
    house: InProcessHouse, bob: Person, trusted: Any, identity: Any, because: str | None
) -> None:
    make_role(house, trust(trusted))
    if identity is not None:
        bob.may(identity)
    if because is None:
        answer = assume(bob)
        given = answer["Credentials"]
        sts = house.client("sts", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        assert sts.get_caller_identity()["Account"] == ACCOUNT
        return
    text = f"User: {BOB} is not authorized to perform: sts:AssumeRole on resource: {ROLE}"
    with refused("AccessDenied", f"{text} {because}".rstrip(), status=403):
        assume(bob)


def test_a_trusted_user_of_another_account_who_is_made_anew_is_somebody_else(
    house: InProcessHouse, other: Account, bob: Person
) -> None:
    role = make_role(house, trust({"AWS": BOB}))
    bob.may(allow("sts:AssumeRole"))
    assume(bob)
    theirs = other.client("iam")
    theirs.delete_user_policy(UserName="bob", PolicyName="given")
    theirs.delete_access_key(UserName="bob", AccessKeyId=bob.key["AccessKeyId"])
    theirs.delete_user(UserName="bob")
    shown = house.client("iam").get_role(RoleName="ops")["Role"]["AssumeRolePolicyDocument"]
    assert shown["Statement"][0]["Principal"] == {"AWS": bob.user["UserId"]}
    again = Person(house, "bob", iam=theirs)
    again.may(allow("sts:AssumeRole"))
    with refused("AccessDenied", status=403):
        assume(again)
    house.client("iam").update_assume_role_policy(RoleName="ops", PolicyDocument=trust({"AWS": BOB}))
    assert assume(again)["AssumedRoleUser"]["AssumedRoleId"].startswith(role["RoleId"])


@pytest.mark.parametrize("how", ["made", "renamed"])
def test_a_user_who_was_trusted_before_the_account_came_is_kept_by_his_id(house: InProcessHouse, how: str) -> None:
    later = "444444444444"
    arn = f"arn:aws:iam::{later}:user/bob"
    make_role(house, trust({"AWS": [arn, f"arn:aws:iam::{later}:role/ci"]}))
    theirs = Account(house, later).client("iam")
    bob = Person(house, "bob" if how == "made" else "rob", iam=theirs)
    if how == "renamed":
        theirs.update_user(UserName="rob", NewUserName="bob")
    iam = house.client("iam")
    assert (
        iam.get_role(RoleName="ops")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"][0] == arn
    )
    theirs.put_user_policy(UserName="bob", PolicyName="given", PolicyDocument=document(allow("sts:AssumeRole")))
    assume(bob)
    theirs.delete_user_policy(UserName="bob", PolicyName="given")
    theirs.delete_access_key(UserName="bob", AccessKeyId=bob.key["AccessKeyId"])
    theirs.delete_user(UserName="bob")
    again = Person(house, "bob", iam=theirs)
    again.may(allow("sts:AssumeRole"))
    with refused("AccessDenied", status=403):
        assume(again)
    role = iam.get_role(RoleName="ops")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"][0] == bob.user["UserId"]
    # The role that was trusted before it was there, too.
    made = theirs.create_role(RoleName="ci", AssumeRolePolicyDocument=trust({"AWS": later}))["Role"]
    theirs.delete_role(RoleName="ci")
    role = iam.get_role(RoleName="ops")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"][1] == made["RoleId"]


def test_a_trust_policy_may_not_name_who_is_not_there(house: InProcessHouse, bob: Person) -> None:
    nobody = f"arn:aws:iam::{OTHER}:user/nobody"
    with refused("MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{nobody}"', status=400):
        make_role(house, trust({"AWS": nobody}))
    # Of an account that this server does not have nothing is known.
    make_role(house, trust({"AWS": "arn:aws:iam::999999999999:role/ci"}))


def test_the_root_user_of_another_account_has_no_rights_here(house: InProcessHouse, other: Account) -> None:
    make_role(house, trust({"AWS": f"arn:aws:iam::{OTHER}:root"}))
    with refused("AccessDenied", "Roles may not be assumed by root accounts.", status=403):
        other.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="se")


def test_a_service_takes_no_role_of_another_account(house: InProcessHouse, other: Account) -> None:
    make_role(house, trust({"Service": ["batch.amazonaws.com", "ecs-tasks.amazonaws.com"]}))
    batch = other.client("batch")
    ec2 = other.client("ec2")
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
    with refused("AccessDeniedException", status=403) as caught:  # Not even root passes what is another's.
        batch.create_compute_environment(
            computeEnvironmentName="ce",
            type="UNMANAGED",
            serviceRole=ROLE,
        )
    assert "iam:PassRole" in caught.value.response["Error"]["Message"]
    assert subnets
    with refused("AccessDeniedException") as caught:
        other.client("ecs").register_task_definition(
            family="f", taskRoleArn=ROLE, containerDefinitions=[{"name": "c", "image": "i", "memory": 64}]
        )
    assert "iam:PassRole" in caught.value.response["Error"]["Message"]
    turn = house.house.turn("ecs", account=OTHER)
    with pytest.raises(Exception, match="is not authorized to perform: sts:AssumeRole"):
        house.loop.run_until_complete(_awaited(turn.write(lambda call: call.assume(ROLE, "ecs-tasks.amazonaws.com"))))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def test_a_role_session_of_one_account_takes_a_role_of_another(house: InProcessHouse, bob: Person) -> None:
    theirs = bob.iam.create_role(RoleName="hop", AssumeRolePolicyDocument=trust({"AWS": BOB}))["Role"]
    bob.iam.put_role_policy(RoleName="hop", PolicyName="p", PolicyDocument=document(allow("sts:AssumeRole", ROLE)))
    bob.may(allow("sts:AssumeRole"))
    make_role(house, trust({"AWS": theirs["Arn"]}))
    given = assume(bob, theirs["Arn"])["Credentials"]
    sts = house.client("sts", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    answer = sts.assume_role(RoleArn=ROLE, RoleSessionName="hopped")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/hopped"
    bob.iam.delete_role_policy(RoleName="hop", PolicyName="p")
    with refused("AccessDenied", status=403):
        sts.assume_role(RoleArn=ROLE, RoleSessionName="hopped")
