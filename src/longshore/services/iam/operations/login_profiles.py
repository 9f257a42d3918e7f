"""Passwords of users, and what the account asks of them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import passwords, rules, shown, store
from longshore.services.iam.operations import users
from longshore.services.iam.records import Login, PasswordPolicy, User


def _login(user: User) -> Login:
    """NoSuchEntity: the user has no password."""
    if user.login is None:
        raise rules.missing(f"Login Profile for User {user.name} cannot be found.")
    return user.login


def _shown(user: User, login: Login) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "UserName": user.name,
        "CreateDate": shown.second(login.created_at),
        "PasswordResetRequired": login.must_reset,
    }
    if login.session_seconds_max is not None:
        answer["MaxSigninSessionDuration"] = login.session_seconds_max
    return answer


def _policy(call: Call) -> PasswordPolicy | None:
    return store.facts_of(call.transaction, call.account).password_policy


@operation
def create_login_profile(call: Call, request: Request) -> Response:
    user = users.named(call, request)
    if user.login is not None:
        raise rules.exists(f"Login Profile for user {user.name} already exists.")
    password = request.get("Password")
    if password is None:
        raise AwsError("ValidationError", "The password is required for a user of this account.")
    must_reset = bool(request.get("PasswordResetRequired"))
    login = passwords.changed(call, _policy(call), user, password, must_reset=must_reset)
    login = replace(login, session_seconds_max=request.get("MaxSigninSessionDuration"))
    store.save(call.transaction, call.account, replace(user, login=login))
    return {"LoginProfile": _shown(user, login)}


@operation
def get_login_profile(call: Call, request: Request) -> Response:
    user = users.named(call, request)
    return {"LoginProfile": _shown(user, _login(user))}


@operation
def update_login_profile(call: Call, request: Request) -> Response:
    user = users.existing(call, request["UserName"])
    login = _login(user)
    if request.get("Password") is not None:
        login = passwords.changed(call, _policy(call), user, request["Password"], must_reset=login.must_reset)
    if request.get("PasswordResetRequired") is not None:
        login = replace(login, must_reset=request["PasswordResetRequired"])
    if request.get("MaxSigninSessionDuration") is not None:
        login = replace(login, session_seconds_max=request["MaxSigninSessionDuration"])
    store.save(call.transaction, call.account, replace(user, login=login))
    return {}


@operation
def delete_login_profile(call: Call, request: Request) -> Response:
    user = users.named(call, request)
    _login(user)
    store.save(call.transaction, call.account, replace(user, login=None))
    return {}


@operation
def change_password(call: Call, request: Request) -> Response:
    """By the user itself, who knows the old one."""
    if call.principal.user_name is None:
        raise AwsError("InvalidUserType", "Only IAM Users can change their own password", status=400)
    user = users.existing(call, call.principal.user_name)
    login = _login(user)
    if not passwords.matches(call, login.sealed_hash, request["OldPassword"]):
        raise AwsError("AccessDenied", "The old password was incorrect.", status=403)
    login = passwords.changed(call, _policy(call), user, request["NewPassword"], must_reset=False)
    store.save(call.transaction, call.account, replace(user, login=login))
    return {}


@operation
def update_account_password_policy(call: Call, request: Request) -> Response:
    """The whole policy: what is not told goes back to its default.

    Source: IAM API reference, UpdateAccountPasswordPolicy.
    """
    policy = PasswordPolicy(
        length_min=request.get("MinimumPasswordLength") or 6,
        symbols=bool(request.get("RequireSymbols")),
        numbers=bool(request.get("RequireNumbers")),
        uppercase=bool(request.get("RequireUppercaseCharacters")),
        lowercase=bool(request.get("RequireLowercaseCharacters")),
        users_may_change=bool(request.get("AllowUsersToChangePassword")),
        age_days_max=request.get("MaxPasswordAge"),
        reuse_prevention=request.get("PasswordReusePrevention"),
        hard_expiry=request.get("HardExpiry"),
    )
    facts = store.facts_of(call.transaction, call.account)
    store.save_facts(call.transaction, call.account, replace(facts, password_policy=policy))
    return {}


def _own_policy(call: Call) -> PasswordPolicy:
    policy = _policy(call)
    if policy is None:
        raise rules.missing(f"The Password Policy with domain name {call.account} cannot be found.")
    return policy


@operation
def get_account_password_policy(call: Call, request: Request) -> Response:
    policy = _own_policy(call)
    answer: dict[str, Any] = {
        "MinimumPasswordLength": policy.length_min,
        "RequireSymbols": policy.symbols,
        "RequireNumbers": policy.numbers,
        "RequireUppercaseCharacters": policy.uppercase,
        "RequireLowercaseCharacters": policy.lowercase,
        "AllowUsersToChangePassword": policy.users_may_change,
        "ExpirePasswords": policy.age_days_max is not None,
    }
    further = {
        "MaxPasswordAge": policy.age_days_max,
        "PasswordReusePrevention": policy.reuse_prevention,
        "HardExpiry": policy.hard_expiry,
    }
    return {"PasswordPolicy": {**answer, **{name: value for name, value in further.items() if value is not None}}}


@operation
def delete_account_password_policy(call: Call, request: Request) -> Response:
    _own_policy(call)
    facts = store.facts_of(call.transaction, call.account)
    store.save_facts(call.transaction, call.account, replace(facts, password_policy=None))
    return {}
