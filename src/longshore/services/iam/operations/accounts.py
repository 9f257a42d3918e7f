"""Accounts and their service control policies: asked by the first account, as AWS has its management account asked.

AWS keeps both in Organizations. What is asked for here is less, so it has doors of its own and Organizations' actions.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.event import Event
from longshore.kit.operation import Request, Response, extension
from longshore.policy import validate
from longshore.services.iam import accounts
from longshore.services.iam.accounts import Account, ControlPolicy

CHANGED = "IAM Account Changed"
_NUMBER = re.compile(r"\d{12}", re.ASCII)
_NAME_MAX = 50  # Organizations API reference, CreateAccount, AccountName
_PATH = "/_longshore/accounts"
# Quotas for AWS Organizations: policies of one kind on a target, characters of a service control policy, depth of a tree.
_POLICIES_MAX = 5
_CHARACTERS_MAX = 5120
_LEVELS_MAX = 7
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class _Wanted(Struct, frozen=True):
    levels: tuple[tuple[ControlPolicy, ...], ...]


@extension("POST", _PATH, action="organizations:CreateAccount", writes=True)
def create_account(call: Call, request: Request) -> Response:
    """The account and its root key, whose secret is never shown again.

    DuplicateAccountException; InvalidInputException: no number of an account.
    """
    _check_first(call)
    number = request.get("account") or _free_number(call)
    name = request.get("name") or f"account-{number}"
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        raise AwsError("InvalidInputException", f"`{number}` is no account number: 12 digits are needed")
    if not isinstance(name, str) or not 1 <= len(name) <= _NAME_MAX:
        raise AwsError("InvalidInputException", f"the name of an account has 1 to {_NAME_MAX} letters")
    there = accounts.find(call.transaction, number)
    if number == _first(call) or (there is not None and there.root_key_id is not None):
        raise AwsError("DuplicateAccountException", f"there is an account {number} already")
    secret = call.ids.secret()
    made = Account(
        account=number,
        name=name,
        created_at=call.now,
        root_key_id=call.ids.access_key_id("AKIA", number),
        sealed_secret=call.house.sealer.seal(secret.encode(), accounts.PURPOSE),
        controls=there.controls if there is not None else (),  # It was the first one, when the server was set up so.
    )
    accounts.keep(call.transaction, made)
    return {**accounts.shown(made), "accessKeyId": made.root_key_id, "secretAccessKey": secret}


@extension("GET", _PATH, action="organizations:ListAccounts")
def list_accounts(call: Call, request: Request) -> Response:
    _check_first(call)
    kept = {each.account: each for each in accounts.listed(call.transaction)}
    first = kept.pop(_first(call), None) or _unkept(_first(call))
    return {"accounts": [accounts.shown(each) for each in (first, *kept.values())]}


@extension("GET", _PATH + "/{account}/service-control-policies", action="organizations:ListPoliciesForTarget")
def get_service_control_policies(call: Call, request: Request) -> Response:
    levels = _existing(call, request["account"]).controls
    return {"levels": [[{"name": each.name, "document": each.document} for each in level] for level in levels]}


@extension("PUT", _PATH + "/{account}/service-control-policies", action="organizations:AttachPolicy", writes=True)
def put_service_control_policies(call: Call, request: Request) -> Response:
    """Replaces all that the account had. No level: nothing limits it.

    MalformedPolicyDocumentException, ConstraintViolationException; AccountNotFoundException.
    """
    account = _existing(call, request["account"])
    try:
        wanted = msgspec.convert({"levels": request.get("levels")}, _Wanted)
    except msgspec.ValidationError as error:
        raise AwsError("InvalidInputException", f"`levels` is no list of lists of policies: {error}") from error
    _check(wanted)
    accounts.keep(call.transaction, replace(account, controls=wanted.levels))
    _tell(call, account.account)
    return {"levels": [[policy.name for policy in level] for level in wanted.levels]}


def _check(wanted: _Wanted) -> None:
    if len(wanted.levels) > _LEVELS_MAX:
        raise AwsError("ConstraintViolationException", f"a tree of accounts has up to {_LEVELS_MAX} levels")
    for level in wanted.levels:
        if len(level) > _POLICIES_MAX:
            text = f"a level has up to {_POLICIES_MAX} service control policies, with FullAWSAccess"
            raise AwsError("ConstraintViolationException", text)
        for policy in level:
            if len(policy.document) > _CHARACTERS_MAX:
                text = f"`{policy.name}`: a service control policy has up to {_CHARACTERS_MAX} characters"
                raise AwsError("ConstraintViolationException", text)
            try:
                validate.check_identity(policy.document, managed=True)
            except AwsError as error:
                text = f"`{policy.name}`: {error.message}"
                raise AwsError("MalformedPolicyDocumentException", text) from error


def _tell(call: Call, account: str) -> None:
    """What was refused in the account is tried again, and what was allowed is doubted."""
    event = Event(
        source="aws.iam",
        detail_type=CHANGED,
        account=account,
        region=call.region,
        time=call.now,
        resource=f"arn:aws:iam::{account}:root",
        detail={"account": account},
    )
    call.house.outbox.append(call.transaction, event)


def _check_first(call: Call) -> None:
    """AccessDeniedException: of AWS's accounts too, the management account alone asks Organizations for this."""
    if call.account != _first(call):
        text = "You don't have permissions to access this resource."
        raise AwsError("AccessDeniedException", text, status=400)


def _existing(call: Call, number: str) -> Account:
    _check_first(call)
    found = accounts.find(call.transaction, number)
    if found is None and number == _first(call):
        found = _unkept(number)
    if found is None:
        raise AwsError("AccountNotFoundException", f"there is no account {number} on this server", status=404)
    return found


def _unkept(number: str) -> Account:
    return Account(account=number, name="first", created_at=_EPOCH)


def _first(call: Call) -> str:
    return call.house.settings.account


def _free_number(call: Call) -> str:
    while True:
        number = str(10**11 + int(call.ids.hex(16), 16) % (9 * 10**11))
        if number != _first(call) and accounts.find(call.transaction, number) is None:
            return number
