"""Whom a resource policy or a trust policy names, in which way, and what that grants.

Source: IAM user guide, "AWS JSON policy elements: Principal", "NotPrincipal", "Evaluating identity-based policies with
resource-based policies".
"""

from __future__ import annotations

from typing import Any

from policy.tables.row import (
    ACCOUNT,
    ALLOWED,
    DENIED,
    FEDERATED,
    OTHER,
    OWN_ROLE,
    ROLE,
    ROOT,
    SESSION,
    SILENT,
    STRANGER,
    USER,
    Document,
    Row,
    allow,
    document,
    named,
    trusting,
)

PRINCIPAL, NOT_PRINCIPAL = "Principal", "NotPrincipal"
OBJECT = "arn:aws:s3:::bucket/key"
WILLING: tuple[Document, ...] = (document(allow("*")),)  # identity policies that allow all
OTHERS_ROOT = f"arn:aws:iam::{OTHER}:root"


def _asked(who: str, principal: Any, expected: str, *, identity: tuple[Document, ...] = (), **more: Any) -> Row:
    """An object of the caller's account, whose policy allows the principal."""
    return Row(
        source=PRINCIPAL,
        expected=expected,
        who=who,
        action="s3:GetObject",
        resource=OBJECT,
        identity=identity,
        resource_policy=document(named(principal)),
        **more,
    )


# (who, principal, allowed by its being named alone, allowed with an identity policy that allows): same account.
_NAMED: list[tuple[str, Any, bool]] = [
    ("user", "*", True),
    ("user", {"AWS": "*"}, True),
    ("user", {"AWS": USER}, True),
    ("user", {"AWS": [STRANGER, USER]}, True),
    ("user", {"AWS": "AIDAANN234567ABCDEFGH"}, True),
    ("user", {"AWS": USER, "Service": "ec2.amazonaws.com"}, True),
    # The account only delegates, by its number and by its root alike.
    ("user", {"AWS": ACCOUNT}, False),
    ("user", {"AWS": ROOT}, False),
    # Not named at all.
    ("user", {"AWS": USER.replace("ann", "Ann")}, False),
    ("user", {"AWS": USER.replace("user/ann", "user/team/ann")}, False),
    ("user", {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"}, False),
    ("user", {"AWS": "AIDABOB234567ABCDEFGH"}, False),
    ("user", {"AWS": STRANGER}, False),
    ("user", {"AWS": OTHER}, False),
    ("user", {"AWS": OWN_ROLE}, False),
    ("user", {"AWS": FEDERATED}, False),
    ("user", {"Service": "ec2.amazonaws.com"}, False),
    ("user", {"Service": ["ec2.amazonaws.com", "batch.amazonaws.com"]}, False),
    ("session", "*", True),
    ("session", {"AWS": "*"}, True),
    ("session", {"AWS": OWN_ROLE}, True),
    ("session", {"AWS": "AROAOPS234567ABCDEFGH"}, True),
    ("session", {"AWS": SESSION}, True),
    ("session", {"AWS": ACCOUNT}, False),
    ("session", {"AWS": ROOT}, False),
    # The session drops the role's path, the role does not.
    ("session", {"AWS": f"arn:aws:iam::{ACCOUNT}:role/ops"}, False),
    ("session", {"AWS": SESSION.replace("job", "Job")}, False),
    ("session", {"AWS": SESSION.replace("/job", "/other")}, False),
    ("session", {"AWS": "AROAOTHER234567ABCDEF"}, False),
    ("session", {"AWS": USER}, False),
    ("federated", "*", True),
    ("federated", {"AWS": FEDERATED}, True),
    ("federated", {"AWS": ROOT}, False),
    ("federated", {"AWS": FEDERATED.replace("ann", "bob")}, False),
]

_SERVICES: list[tuple[Any, bool]] = [
    ({"Service": "ec2.amazonaws.com"}, True),
    ({"Service": ["batch.amazonaws.com", "ec2.amazonaws.com"]}, True),
    ({"Service": "batch.amazonaws.com"}, False),
    ({"Service": "ecs-tasks.amazonaws.com"}, False),
    ({"AWS": ACCOUNT}, False),
    ({"AWS": USER, "Service": "ec2.amazonaws.com"}, True),
    ({"AWS": [USER, OWN_ROLE]}, False),
]


def _denied(who: str, element: str, principal: Any, expected: str, *, boundary: Document | None = None) -> Row:
    statement = {"Effect": "Deny", element: principal, "Action": "s3:*", "Resource": "*"}
    return Row(
        source=element,
        expected=expected,
        by="resource" if expected == DENIED else "",
        who=who,
        action="s3:GetObject",
        resource=OBJECT,
        identity=WILLING,
        boundary=boundary,
        resource_policy=document(named("*"), statement),
    )


# Who is hit by a Deny with Principal, and with NotPrincipal.
_DENIALS: list[tuple[str, str, Any, str]] = [
    ("user", "Principal", "*", DENIED),
    ("user", "Principal", {"AWS": USER}, DENIED),
    ("user", "Principal", {"AWS": ACCOUNT}, DENIED),
    ("user", "Principal", {"AWS": ROOT}, DENIED),
    ("user", "Principal", {"AWS": OTHER}, ALLOWED),
    ("user", "Principal", {"AWS": OWN_ROLE}, ALLOWED),
    ("session", "Principal", {"AWS": OWN_ROLE}, DENIED),
    ("session", "Principal", {"AWS": SESSION}, DENIED),
    ("session", "Principal", {"AWS": ACCOUNT}, DENIED),
    ("session", "Principal", {"AWS": USER}, ALLOWED),
    ("root", "Principal", {"AWS": ROOT}, DENIED),
    ("root", "Principal", "*", DENIED),
    ("root", "Principal", {"AWS": USER}, ALLOWED),
    # To be spared, the account must be named as well as the one who calls.
    ("user", "NotPrincipal", {"AWS": [ROOT, USER]}, ALLOWED),
    ("user", "NotPrincipal", {"AWS": [ACCOUNT, USER]}, ALLOWED),
    ("user", "NotPrincipal", {"AWS": [ACCOUNT, "AIDAANN234567ABCDEFGH"]}, ALLOWED),
    ("user", "NotPrincipal", {"AWS": USER}, DENIED),
    ("user", "NotPrincipal", {"AWS": ROOT}, DENIED),
    ("user", "NotPrincipal", {"AWS": [OTHER, STRANGER]}, DENIED),
    ("session", "NotPrincipal", {"AWS": [ROOT, OWN_ROLE, SESSION]}, ALLOWED),
    ("session", "NotPrincipal", {"AWS": [ROOT, OWN_ROLE]}, DENIED),
    ("session", "NotPrincipal", {"AWS": [ROOT, SESSION]}, DENIED),
    ("session", "NotPrincipal", {"AWS": [OWN_ROLE, SESSION]}, DENIED),
    ("root", "NotPrincipal", {"AWS": ROOT}, ALLOWED),
    ("root", "NotPrincipal", {"AWS": USER}, DENIED),
]


def _trust(
    who: str, principal: Any, expected: str, *, willing: bool, by: str = "", effect: str = "Allow", **more: Any
) -> Row:
    return Row(
        source="Principal, in a role trust policy",
        expected=expected,
        by=by,
        who=who,
        action="sts:AssumeRole",
        resource=ROLE,
        identity=WILLING if willing else (),
        resource_policy=document(trusting(principal, effect, **more)),
    )


_TRUSTS: list[Row] = [
    # Its own account's trust policy grants to whom it names itself, and delegates to whom it names by account.
    _trust("user", {"AWS": USER}, ALLOWED, willing=False),
    _trust("user", {"AWS": USER}, ALLOWED, willing=True),
    _trust("user", {"AWS": "AIDAANN234567ABCDEFGH"}, ALLOWED, willing=False),
    _trust("user", {"AWS": "*"}, ALLOWED, willing=False),
    _trust("user", {"AWS": ACCOUNT}, SILENT, willing=False, by="identity"),
    _trust("user", {"AWS": ROOT}, SILENT, willing=False, by="identity"),
    _trust("user", {"AWS": ACCOUNT}, ALLOWED, willing=True),
    _trust("user", {"AWS": ROOT}, ALLOWED, willing=True),
    # An identity policy does not replace trust, in one account neither.
    _trust("user", {"AWS": OWN_ROLE}, SILENT, willing=True, by="trust"),
    _trust("user", {"AWS": OTHER}, SILENT, willing=True, by="trust"),
    _trust("user", {"Service": "ec2.amazonaws.com"}, SILENT, willing=True, by="trust"),
    _trust("root", {"Service": "ec2.amazonaws.com"}, SILENT, willing=True, by="trust"),
    _trust("session", {"AWS": OWN_ROLE}, ALLOWED, willing=False),
    _trust("session", {"AWS": SESSION}, ALLOWED, willing=False),
    _trust("session", {"AWS": ACCOUNT}, SILENT, willing=False, by="identity"),
    _trust("session", {"AWS": ACCOUNT}, ALLOWED, willing=True),
    _trust("session", {"AWS": f"arn:aws:iam::{ACCOUNT}:role/ops"}, SILENT, willing=True, by="trust"),
    # Conditions of a trust policy.
    _trust(
        "user", {"AWS": USER}, SILENT, willing=True, by="trust", Condition={"StringEquals": {"sts:ExternalId": "x"}}
    ),
    # Actions of a trust policy.
    _trust("user", {"AWS": USER}, SILENT, willing=True, by="trust", action="sts:TagSession"),
    _trust("user", {"AWS": USER}, ALLOWED, willing=False, action="sts:AssumeRole*"),
    _trust("user", {"AWS": USER}, ALLOWED, willing=False, action=["sts:TagSession", "sts:assumerole"]),
    # A service needs no identity policy, and has none.
    _trust("service", {"Service": "ec2.amazonaws.com"}, ALLOWED, willing=False),
    _trust("service", {"Service": "batch.amazonaws.com"}, SILENT, willing=False, by="trust"),
    _trust("service", {"AWS": ACCOUNT}, SILENT, willing=False, by="trust"),
    # From another account: both sides must allow, however the trust policy names the caller.
    *(
        _trust("stranger", principal, ALLOWED if willing else SILENT, willing=willing, by="" if willing else "identity")
        for principal in (
            {"AWS": STRANGER},
            {"AWS": "AIDASTRANGER34567ABCD"},
            {"AWS": OTHER},
            {"AWS": OTHERS_ROOT},
            {"AWS": "*"},
        )
        if principal != {"AWS": "AIDASTRANGER34567ABCD"}
        for willing in (False, True)
    ),
    _trust("stranger", {"AWS": ACCOUNT}, SILENT, willing=True, by="trust"),
    _trust("stranger", {"AWS": USER}, SILENT, willing=True, by="trust"),
]


def _over_there(
    who: str, principal: Any, expected: str, *, willing: bool, by: str = "", owner: str | None = None
) -> Row:
    """A queue of the other account."""
    return Row(
        source="Cross-account policy evaluation logic",
        expected=expected,
        by=by,
        who=who,
        action="sqs:SendMessage",
        resource=f"arn:aws:sqs:us-east-1:{OTHER}:queue" if owner is None else "arn:aws:s3:::bucket/key",
        identity=WILLING if willing else (),
        resource_policy=document(named(principal, action="*")),
        owner=owner,
    )


_ACROSS: list[Row] = [
    _over_there("user", {"AWS": USER}, ALLOWED, willing=True),
    _over_there("user", {"AWS": ACCOUNT}, ALLOWED, willing=True),
    _over_there("user", {"AWS": ROOT}, ALLOWED, willing=True),
    _over_there("user", "*", ALLOWED, willing=True),
    _over_there("user", {"AWS": USER}, SILENT, willing=False, by="identity"),
    _over_there("user", "*", SILENT, willing=False, by="identity"),
    _over_there("user", {"AWS": OTHER}, SILENT, willing=True, by="resource"),
    _over_there("user", {"AWS": OWN_ROLE}, SILENT, willing=True, by="resource"),
    _over_there("session", {"AWS": OWN_ROLE}, ALLOWED, willing=True),
    _over_there("session", {"AWS": SESSION}, ALLOWED, willing=True),
    _over_there("session", {"AWS": OWN_ROLE}, SILENT, willing=False, by="identity"),
    _over_there("session", {"AWS": SESSION}, SILENT, willing=False, by="identity"),
    _over_there("root", {"AWS": ROOT}, ALLOWED, willing=False),
    _over_there("root", {"AWS": OTHER}, SILENT, willing=False, by="resource"),
    # Buckets have no account in their ARN: the owner is known otherwise.
    _over_there("user", "*", SILENT, willing=False, by="identity", owner=OTHER),
    _over_there("user", {"AWS": ACCOUNT}, ALLOWED, willing=True, owner=OTHER),
    _over_there("user", "*", ALLOWED, willing=False, owner=ACCOUNT),
]

ROWS: list[Row] = [
    *(_asked(who, principal, ALLOWED if alone else SILENT) for who, principal, alone in _NAMED),
    *(_asked(who, principal, ALLOWED, identity=WILLING) for who, principal, _ in _NAMED if who != "federated"),
    *(_asked("service", principal, ALLOWED if is_named else SILENT) for principal, is_named in _SERVICES),
    *(
        _asked("root", principal, ALLOWED)
        for principal in ("*", {"AWS": USER}, {"AWS": ROOT}, {"Service": "ec2.amazonaws.com"})
    ),
    *(_denied(*row) for row in _DENIALS),
    # "Permissions boundaries for IAM entities": NotPrincipal spares nobody who has a boundary; Principal is as ever.
    *(
        _denied(*row[:3], DENIED, boundary=WILLING[0])
        for row in _DENIALS
        if row[0] != "root" and row[1] == NOT_PRINCIPAL
    ),
    *(_denied(*row, boundary=WILLING[0]) for row in _DENIALS if row[0] != "root" and row[1] == PRINCIPAL),
    *_TRUSTS,
    *_ACROSS,
]
