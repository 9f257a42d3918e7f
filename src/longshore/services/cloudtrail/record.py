"""A call as it is kept, and the CloudTrail record that is made of it when somebody asks. Pure.

Every call is kept, few are ever looked up: so what is written is short, and the record's long form is made on reading.
Source: CloudTrail user guide, "CloudTrail record contents", "CloudTrail userIdentity element".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from longshore.aws import model as models
from longshore.aws.clock import from_milliseconds
from longshore.aws.model import Reference
from longshore.aws.principal import Principal

# CloudTrail user guide, "CloudTrail record contents": a field that is too large is left out, and says so. AWS's limit for
# one field is 100 KB; a house that keeps all its calls on one disk keeps less.
FIELD_BYTES_MAX = 4096
_OMITTED = b'{"omitted":true,"originalSize":%d,"reason":"%s too large"}'
_REMOVED = "HIDDEN_DUE_TO_SECURITY_REASONS"
# Beside what the service models call sensitive: where secrets are handed over, and what customers' programs say.
_HIDDEN = frozenset({"environment", "logevents", "userdata", "sessiontoken", "secretaccesskey", "secretstring"})
_TYPES = {"root": "Root", "user": "IAMUser", "assumed-role": "AssumedRole", "federated-user": "FederatedUser"}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


NOTHING = msgspec.Raw(b"null")


class Caller(Struct, frozen=True, array_like=True, gc=False):
    """What calls of the same credentials have in common."""

    identity: msgspec.Raw  # userIdentity
    user: str
    access_key_id: str  # empty: none was shown


class Kept(Struct, frozen=True, array_like=True, gc=False):
    """What is written down of one call."""

    at: int  # epoch milliseconds
    request_id: str
    caller: int  # of the section's
    agent: int
    source_ip: str
    service: str  # "iam"
    name: str
    read_only: bool
    resource: str  # empty: none
    error_code: str | None
    error_message: str | None
    parameters: msgspec.Raw  # names as the service model has them
    elements: msgspec.Raw  # what a call that changed something was answered
    event_id: str = ""  # empty: made of the sequence
    whole: msgspec.Raw = NOTHING  # the record, all of it, as an earlier release wrote it


class Row(Struct, frozen=True):
    """A call that was found again."""

    sequence: int
    account: str
    region: str
    kept: Kept
    caller: Caller
    user_agent: str


def field(service: str, operation: str, value: Mapping[str, Any] | None, *, is_answer: bool) -> msgspec.Raw:
    """requestParameters or responseElements: without secrets, and of bounded length."""
    if not value:
        return NOTHING
    text = _ENCODER.encode(_hider(service, operation, is_answer)(value))
    if len(text) > FIELD_BYTES_MAX:
        text = _OMITTED % (len(text), b"responseElements" if is_answer else b"requestParameters")
    return msgspec.Raw(text)


def identity(principal: Principal, invoked_by: str | None) -> msgspec.Raw:
    return msgspec.Raw(_ENCODER.encode(_identity(principal, invoked_by)))


def event_id(row: Row) -> str:
    """The id of a record: version 4 in form, the call's sequence in its last digits, so that it is found by them."""
    if row.kept.event_id:
        return row.kept.event_id
    stirred = hashlib.sha256(f"{row.sequence}:{row.kept.at}:{row.account}".encode()).hexdigest()
    return f"{stirred[:8]}-{stirred[8:12]}-4{stirred[12:15]}-a{stirred[15:18]}-{row.sequence:012x}"


def sequence_of(text: str) -> int | None:
    """Of the call that alone can have the id. None: not an id of ours."""
    digits = text[24:]
    if len(text) != 36 or len(digits) != 12 or not all(each in "0123456789abcdef" for each in digits):
        return None
    return int(digits, 16)


def record(row: Row) -> dict[str, Any]:
    """The CloudTrail record."""
    kept = row.kept
    if kept.whole != NOTHING:
        whole: dict[str, Any] = msgspec.json.decode(kept.whole)
        return whole
    found: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": msgspec.json.decode(row.caller.identity),
        "eventTime": from_milliseconds(kept.at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": source(kept.service),
        "eventName": kept.name,
        "awsRegion": row.region,
        "sourceIPAddress": kept.source_ip,
        "userAgent": row.user_agent,
        "requestParameters": _as_in_records(msgspec.json.decode(kept.parameters)),
        "responseElements": _as_in_records(msgspec.json.decode(kept.elements)),
        "requestID": kept.request_id,
        "eventID": event_id(row),
        "readOnly": kept.read_only,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": row.account,
        "eventCategory": "Management",
    }
    if kept.resource and kept.resource != "*":
        owner = kept.resource.split(":", 5)[4:5]
        found["resources"] = [{"ARN": kept.resource, "accountId": (owner and owner[0]) or row.account}]
        if kind := resource_type(kept.resource):
            found["resources"][0]["type"] = kind
    if kept.error_code:
        found["errorCode"] = kept.error_code
        found["errorMessage"] = kept.error_message
    return found


def source(service: str) -> str:
    return f"{service}.amazonaws.com"


def read_only(value: bool) -> str:
    return "true" if value else "false"


# CloudTrail user guide, "Resource types": those of the services that there are here. Type -> its ARNs, as a GLOB pattern.
RESOURCE_TYPES: Mapping[str, str] = {
    "AWS::IAM::Role": "arn:*:iam::*:role/*",
    "AWS::IAM::User": "arn:*:iam::*:user/*",
    "AWS::IAM::Group": "arn:*:iam::*:group/*",
    "AWS::IAM::Policy": "arn:*:iam::*:policy/*",
    "AWS::IAM::InstanceProfile": "arn:*:iam::*:instance-profile/*",
    "AWS::EC2::Instance": "arn:*:ec2:*:*:instance/*",
    "AWS::EC2::Subnet": "arn:*:ec2:*:*:subnet/*",
    "AWS::EC2::SecurityGroup": "arn:*:ec2:*:*:security-group/*",
    "AWS::ECS::Cluster": "arn:*:ecs:*:*:cluster/*",
    "AWS::ECS::TaskDefinition": "arn:*:ecs:*:*:task-definition/*",
    "AWS::Batch::ComputeEnvironment": "arn:*:batch:*:*:compute-environment/*",
    "AWS::Batch::JobQueue": "arn:*:batch:*:*:job-queue/*",
    "AWS::Batch::JobDefinition": "arn:*:batch:*:*:job-definition/*",
    "AWS::Logs::LogGroup": "arn:*:logs:*:*:log-group:*",
}


def resource_type(arn: str) -> str | None:
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return None
    for kind, pattern in RESOURCE_TYPES.items():
        wanted = pattern.split(":", 5)
        if parts[2] == wanted[2] and parts[5].startswith(wanted[5][:-1]):
            return kind
    return None


def user_name(principal: Principal) -> str:
    """What LookupEvents calls Username: a session's is its session name."""
    return principal.session_name or principal.user_name or ("root" if principal.kind == "root" else principal.arn)


def _identity(principal: Principal, invoked_by: str | None) -> dict[str, Any]:
    if principal.kind == "service":
        return {"type": "AWSService", "invokedBy": principal.arn, "accountId": principal.account}
    found: dict[str, Any] = {
        "type": _TYPES[principal.kind],
        "principalId": principal.user_id,
        "arn": principal.arn,
        "accountId": principal.account,
    }
    if principal.access_key_id:
        found["accessKeyId"] = principal.access_key_id
    if principal.user_name:
        found["userName"] = principal.user_name
    if principal.role_arn:
        issuer: Mapping[str, Any] = {
            "type": "Role",
            "principalId": principal.role_id,
            "arn": principal.role_arn,
            "accountId": principal.account,
            "userName": principal.role_arn.rsplit("/", 1)[-1],
        }
        attributes: dict[str, Any] = {"mfaAuthenticated": "true" if principal.multi_factor else "false"}
        if principal.issued_at is not None:
            attributes["creationDate"] = principal.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        found["sessionContext"] = {"sessionIssuer": issuer, "attributes": attributes}
        if principal.source_identity:
            found["sessionContext"]["sourceIdentity"] = principal.source_identity
    if invoked_by:
        found["invokedBy"] = invoked_by
    return found


def _as_in_records(value: Any) -> Any:
    """Member names begin with a small letter in records, whatever the service's own manner."""
    if isinstance(value, dict):
        return {_small(name): _as_in_records(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_in_records(each) for each in value]
    return value


def _small(name: str) -> str:
    return name[:1].lower() + name[1:]


# --- what is left out ---

_Hide = Callable[[Any], Any]


def _as_it_is(value: Any) -> Any:
    return value


@cache
def _hider(service: str, operation: str, is_answer: bool) -> _Hide:
    """Compiled once for each operation; most hand no secrets over, and are kept as they are."""
    form = models.model(service).operations.get(operation) if service in models.SERVICES else None
    reference = (form.output if is_answer else form.input) if form is not None else None
    if form is None or reference is None:
        return _hides_all  # An extension of ours has no model that could tell.
    return _hider_of(service, reference, frozenset()) or _as_it_is


def _hides_all(value: Any) -> Any:
    return _REMOVED


def _hider_of(service: str, reference: Reference, above: frozenset[str]) -> _Hide | None:
    """None: there is nothing to hide. A shape within itself is not looked into twice: it is hidden."""
    shape = models.model(service).shapes[reference.shape]
    if shape.sensitive or shape.type == "blob":
        return _hides_all
    if reference.shape in above:
        return _hides_all
    above = above | {reference.shape}
    if shape.type == "structure":
        hiders: dict[str, _Hide] = {}
        for name, member in shape.members.items():
            hide = _hides_all if name.lower() in _HIDDEN else _hider_of(service, member, above)
            if hide is not None:
                hiders[name] = hide
        return _hides_members(hiders) if hiders else None
    inner = shape.member or shape.value
    hide = _hider_of(service, inner, above) if inner is not None else None
    if hide is None:
        return None
    return _hides_values(hide) if shape.type == "map" else _hides_each(hide)


def _hides_members(hiders: Mapping[str, _Hide]) -> _Hide:
    def hide(value: Any) -> Any:
        return {name: hiders[name](each) if name in hiders else each for name, each in value.items()}

    return hide


def _hides_values(hider: _Hide) -> _Hide:
    def hide(value: Any) -> Any:
        return {name: hider(each) for name, each in value.items()}

    return hide


def _hides_each(hider: _Hide) -> _Hide:
    def hide(value: Any) -> Any:
        return [hider(each) for each in value]

    return hide
