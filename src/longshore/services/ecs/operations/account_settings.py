"""Account settings, kept as records: what they switch elsewhere in AWS has no counterpart here.

Source: ECS API reference, PutAccountSetting; developer guide, "Access Amazon ECS features with account settings".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import store
from longshore.services.ecs.references import place
from longshore.services.ecs.rules import invalid

if TYPE_CHECKING:
    from longshore.kit.call import Call

_DEFAULTS = {
    "serviceLongArnFormat": "enabled",
    "taskLongArnFormat": "enabled",
    "containerInstanceLongArnFormat": "enabled",
    "awsvpcTrunking": "disabled",
    "containerInsights": "disabled",
    "fargateFIPSMode": "disabled",
    "tagResourceAuthorization": "on",
    "fargateTaskRetirementWaitPeriod": "7",
    "guardDutyActivate": "off",
    "defaultLogDriverMode": "non-blocking",
}
_AWS_MANAGED = ("guardDutyActivate", "fargateTaskRetirementWaitPeriod")


@operation
def list_account_settings(call: Call, request: Request) -> Response:
    """Those of the principal; with effectiveSettings, the account's defaults and AWS's own fill the gaps."""
    principal = _principal(call, request.get("principalArn"))
    found = store.account_settings(place(call), principal)
    if request.get("effectiveSettings"):
        found = {**_DEFAULTS, **store.account_settings(place(call), _root(call)), **found}
    name, value = request.get("name"), request.get("value")
    if value is not None and name is None:
        raise invalid("You must specify an account setting name when you specify a value.")
    shown = [
        {
            "name": key,
            "value": found[key],
            "principalArn": principal,
            "type": "aws_managed" if key in _AWS_MANAGED else "user",
        }
        for key in sorted(found)
        if name in (None, key) and value in (None, found[key])
    ]
    return {"settings": shown}


@operation
def put_account_setting(call: Call, request: Request) -> Response:
    return _put(call, _principal(call, request.get("principalArn")), request)


@operation
def put_account_setting_default(call: Call, request: Request) -> Response:
    return _put(call, _root(call), request)


@operation
def delete_account_setting(call: Call, request: Request) -> Response:
    principal, name = _principal(call, request.get("principalArn")), request["name"]
    store.delete_setting(place(call), principal, name)
    return {"setting": {"name": name, "value": _DEFAULTS.get(name, ""), "principalArn": principal}}


def _put(call: Call, principal: str, request: Request) -> Response:
    name, value = request["name"], request["value"]
    if not value:
        raise invalid("Account setting value cannot be empty.")
    store.put_setting(place(call), principal, name, value)
    kind = "aws_managed" if name in _AWS_MANAGED else "user"
    return {"setting": {"name": name, "value": value, "principalArn": principal, "type": kind}}


def _root(call: Call) -> str:
    return f"arn:aws:iam::{call.account}:root"


def _principal(call: Call, arn: str | None) -> str:
    """The caller's role or user itself, unless another is named."""
    if arn is not None and arn.split(":")[4:5] != [call.account]:
        raise invalid("The principal ARN is of another account.")
    return arn or call.principal.role_arn or call.principal.arn
