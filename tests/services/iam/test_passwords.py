"""Passwords of users, and what the account asks of them."""

from __future__ import annotations

import pytest

from longshore.services.iam import store
from longshore.services.iam.records import User
from people import allow
from refusals import refused

GOOD = "Blue-Kettle-7"


def test_a_login_profile_is_made_shown_changed_and_deleted(house) -> None:
    iam = house.client("iam")
    user = iam.create_user(UserName="anna")["User"]
    gone = "Login Profile for User anna cannot be found."
    for call in (iam.get_login_profile, iam.delete_login_profile, iam.update_login_profile):
        with refused("NoSuchEntity", gone, status=404):
            call(UserName="anna")
    made = iam.create_login_profile(UserName="anna", Password=GOOD, PasswordResetRequired=True)["LoginProfile"]
    assert made == {"UserName": "anna", "CreateDate": user["CreateDate"], "PasswordResetRequired": True}
    with refused("EntityAlreadyExists", "Login Profile for user anna already exists.", status=409):
        iam.create_login_profile(UserName="anna", Password=GOOD)
    iam.update_login_profile(UserName="anna", PasswordResetRequired=False)
    assert iam.get_login_profile(UserName="anna")["LoginProfile"]["PasswordResetRequired"] is False
    with refused("DeleteConflict", "Cannot delete entity, must delete login profile first.", status=409):
        iam.delete_user(UserName="anna")
    iam.delete_login_profile(UserName="anna")
    iam.delete_user(UserName="anna")
    with refused("NoSuchEntity", "The user with name anna cannot be found.", status=404):
        iam.create_login_profile(UserName="anna", Password=GOOD)


@pytest.mark.parametrize(
    ("password", "text"),
    [
        ("Ab1!", "Password should have a minimum length of 8"),
        (
            "onlylowercase",
            "Password should meet 2 more of the following requirements: Password should have at least one uppercase "
            "letter, Password should have at least one number, Password should have at least one symbol",
        ),
        (
            "lower-and-symbols",
            "Password should meet 1 more of the following requirements: Password should have at least one uppercase "
            "letter, Password should have at least one number",
        ),
    ],
)
def test_without_a_policy_aws_asks_for_eight_of_three_kinds(house, password, text) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    with refused("PasswordPolicyViolation", text, status=400):
        iam.create_login_profile(UserName="anna", Password=password)


def test_the_accounts_own_policy_takes_the_place_of_aws_s(house) -> None:
    iam = house.client("iam")
    none = "The Password Policy with domain name 123456789012 cannot be found."
    for call in (iam.get_account_password_policy, iam.delete_account_password_policy):
        with refused("NoSuchEntity", none, status=404):
            call()
    iam.update_account_password_policy(MinimumPasswordLength=10, RequireSymbols=True, MaxPasswordAge=90)
    assert iam.get_account_password_policy()["PasswordPolicy"] == {
        "MinimumPasswordLength": 10, "RequireSymbols": True, "RequireNumbers": False,
        "RequireUppercaseCharacters": False, "RequireLowercaseCharacters": False, "AllowUsersToChangePassword": False,
        "ExpirePasswords": True, "MaxPasswordAge": 90,
    }  # fmt: skip
    iam.create_user(UserName="anna")
    with refused("PasswordPolicyViolation", "Password should have a minimum length of 10"):
        iam.create_login_profile(UserName="anna", Password="Short-1")
    with refused("PasswordPolicyViolation", "Password should have at least one symbol"):
        iam.create_login_profile(UserName="anna", Password="lettersonly")
    iam.create_login_profile(UserName="anna", Password="letters-only")
    iam.update_account_password_policy(PasswordReusePrevention=2)
    policy = iam.get_account_password_policy()["PasswordPolicy"]
    assert policy["MinimumPasswordLength"] == 6 and policy["RequireSymbols"] is False
    assert policy["ExpirePasswords"] is False and policy["PasswordReusePrevention"] == 2
    for password in ("letters-two", "letters-three"):
        iam.update_login_profile(UserName="anna", Password=password)
    with refused("PasswordPolicyViolation"):
        iam.update_login_profile(UserName="anna", Password="letters-two")
    iam.update_login_profile(UserName="anna", Password="letters-only")  # Three back.
    iam.delete_account_password_policy()
    with refused("NoSuchEntity"):
        iam.get_account_password_policy()


def test_a_user_changes_its_password_when_it_knows_the_old_one(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    hers = anna.client("iam")
    iam.create_login_profile(UserName="anna", Password=GOOD, PasswordResetRequired=True)
    with refused("AccessDenied", status=403) as caught:
        hers.change_password(OldPassword=GOOD, NewPassword="Green-Kettle-8")
    assert "iam:ChangePassword on resource: " + anna.arn in str(caught.value)
    anna.may(allow("iam:ChangePassword", "arn:aws:iam::*:user/${aws:username}"))
    with refused("AccessDenied", "The old password was incorrect.", status=403):
        hers.change_password(OldPassword="wrong", NewPassword="Green-Kettle-8")
    with refused("PasswordPolicyViolation"):
        hers.change_password(OldPassword=GOOD, NewPassword="short")
    hers.change_password(OldPassword=GOOD, NewPassword="Green-Kettle-8")
    assert iam.get_login_profile(UserName="anna")["LoginProfile"]["PasswordResetRequired"] is False
    with refused("AccessDenied", "The old password was incorrect."):
        hers.change_password(OldPassword=GOOD, NewPassword="Grey-Kettle-9")
    with refused("InvalidUserType", status=400):
        iam.change_password(OldPassword=GOOD, NewPassword="Grey-Kettle-9")


def test_no_password_stands_in_the_database_or_its_record_of_calls(house) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    iam.create_login_profile(UserName="anna", Password=GOOD)
    house.pass_time(2)
    user = house.store.read(lambda transaction: store.find(transaction, User, "123456789012", "anna"))
    assert user.login is not None and len(user.login.sealed_hash) > 60
    dump = "\n".join(house.store._writer.iterdump()).encode("utf-8", "surrogateescape")
    assert GOOD.encode() not in dump and GOOD.encode().hex().upper().encode() not in dump
    assert b"CreateLoginProfile" in dump
