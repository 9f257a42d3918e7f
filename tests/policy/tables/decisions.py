"""The way to a decision: which kinds of policy must allow, which deny, and which one AWS's message names.

Source: IAM user guide, "Policy evaluation logic", "Permissions boundaries for IAM entities", "Session policies", "Access denied
error messages"; Organizations user guide, "Service control policies".
"""

from __future__ import annotations

import itertools
from typing import Any

from policy.tables.row import (
    ACCOUNT,
    ALLOWED,
    DENIED,
    FEDERATED,
    OWN_ROLE,
    ROLE,
    ROOT,
    SESSION,
    SILENT,
    USER,
    Document,
    Row,
    allow,
    deny,
    document,
    named,
    trusting,
)

LOGIC = "Policy evaluation logic"
BOUNDARIES = "Permissions boundaries for IAM entities"
SESSIONS = "Session policies"
CONTROLS = "Service control policies"

YES, NO, OTHER_ONE = document(allow()), document(allow("*"), deny()), document(allow("s3:*"))
_SAYS: dict[str, Document] = {"allow": YES, "deny": NO, "silent": OTHER_ONE}
# The order in which a denial is told, and in which silence is.
_KINDS = ("control", "identity", "boundary", "session")


def _own_limits() -> list[Row]:
    """A session: every combination of what its four kinds of policies say."""
    rows = []
    for says in itertools.product(
        (None, "allow", "deny", "silent"), ("allow", "deny", "silent"), *([(None, "allow", "deny", "silent")] * 2)
    ):
        told = dict(zip(_KINDS, says, strict=True))
        deniers = [kind for kind in _KINDS if told[kind] == "deny"]
        silent = [kind for kind in _KINDS if told[kind] == "silent"]
        control, identity, boundary, session = says
        rows.append(
            Row(
                source=LOGIC,
                expected=DENIED if deniers else SILENT if silent else ALLOWED,
                by=(deniers or silent or [""])[0],
                who="session",
                control=((_SAYS[control],),) if control else (),
                identity=(_SAYS[identity],),
                boundary=_SAYS[boundary] if boundary else None,
                session=(_SAYS[session],) if session else (),
            )
        )
    return rows


OBJECT = "arn:aws:s3:::bucket/key"
GET = document(allow("s3:GetObject"))


def _granted(
    who: str,
    principal: Any,
    expected: str,
    *,
    identity: bool,
    boundary: bool | None,
    session: bool | None,
    by: str = "",
) -> Row:
    """A resource policy that names the caller, and what of the caller's own policies allows. None: there is no such policy."""
    says = {True: GET, False: YES}
    return Row(
        source="Evaluating identity-based policies with resource-based policies",
        expected=expected,
        by=by,
        who=who,
        action="s3:GetObject",
        resource=OBJECT,
        identity=(says[identity],),
        boundary=None if boundary is None else says[boundary],
        session=() if session is None else (says[session],),
        resource_policy=document(named(principal)),
    )


_GRANTS: list[Row] = [
    # Who is named as itself needs no policy of its own, and no boundary limits it.
    _granted("user", {"AWS": USER}, ALLOWED, identity=False, boundary=None, session=None),
    _granted("user", {"AWS": USER}, ALLOWED, identity=False, boundary=False, session=None),
    _granted("user", {"AWS": USER}, ALLOWED, identity=True, boundary=False, session=None),
    # A role that is named: its session is still limited by boundary and session policy.
    _granted("session", {"AWS": OWN_ROLE}, ALLOWED, identity=False, boundary=None, session=None),
    _granted("session", {"AWS": OWN_ROLE}, ALLOWED, identity=False, boundary=True, session=None),
    _granted("session", {"AWS": OWN_ROLE}, ALLOWED, identity=False, boundary=True, session=True),
    _granted("session", {"AWS": OWN_ROLE}, SILENT, identity=True, boundary=False, session=None, by="boundary"),
    _granted("session", {"AWS": OWN_ROLE}, SILENT, identity=False, boundary=False, session=None),
    _granted("session", {"AWS": OWN_ROLE}, SILENT, identity=True, boundary=None, session=False, by="session"),
    _granted("session", {"AWS": OWN_ROLE}, SILENT, identity=True, boundary=True, session=False, by="session"),
    # The session itself: nothing limits it.
    _granted("session", {"AWS": SESSION}, ALLOWED, identity=False, boundary=None, session=None),
    _granted("session", {"AWS": SESSION}, ALLOWED, identity=False, boundary=False, session=None),
    _granted("session", {"AWS": SESSION}, ALLOWED, identity=False, boundary=None, session=False),
    _granted("session", {"AWS": SESSION}, ALLOWED, identity=False, boundary=False, session=False),
    # Everyone.
    _granted("session", "*", ALLOWED, identity=False, boundary=False, session=None),
    _granted("session", "*", ALLOWED, identity=False, boundary=False, session=False),
    _granted("user", "*", ALLOWED, identity=False, boundary=False, session=None),
    # The account delegates: all of the caller's own must allow.
    *(
        _granted(who, {"AWS": principal}, expected, identity=identity, boundary=boundary, session=None, by=by)
        for who in ("user", "session")
        for principal in (ACCOUNT, ROOT)
        for identity, boundary, expected, by in [
            (True, None, ALLOWED, ""),
            (False, None, SILENT, "identity"),
            (True, True, ALLOWED, ""),
            (True, False, SILENT, "boundary"),
            (False, True, SILENT, "identity"),
        ]
    ),
    _granted("session", {"AWS": ACCOUNT}, SILENT, identity=True, boundary=None, session=False, by="session"),
    # Named in two ways, the wider one holds.
    _granted("session", {"AWS": [OWN_ROLE, SESSION]}, ALLOWED, identity=False, boundary=False, session=False),
    _granted("session", {"AWS": [ACCOUNT, OWN_ROLE]}, ALLOWED, identity=False, boundary=True, session=True),
    # A federated user has what its session policy allows, or what names it.
    _granted("federated", {"AWS": FEDERATED}, ALLOWED, identity=False, boundary=None, session=None),
    _granted("federated", {"AWS": ACCOUNT}, SILENT, identity=True, boundary=None, session=None, by="session"),
    _granted("federated", {"AWS": ACCOUNT}, ALLOWED, identity=True, boundary=None, session=True),
]


def _row(source: str, expected: str, by: str = "", **more: Any) -> Row:
    return Row(source=source, expected=expected, by=by, **more)


_TRUST_AND_MORE: list[Row] = [
    # A denial anywhere wins over trust.
    *(
        _row(
            LOGIC, DENIED, by, who="session", action="sts:AssumeRole", resource=ROLE,
            resource_policy=document(trusting({"AWS": SESSION})), **{"identity": (), **limits},
        )
        for by, limits in [
            ("identity", {"identity": (document(deny("sts:*")),)}),
            ("boundary", {"boundary": document(deny("sts:*"))}),
            ("session", {"session": (document(deny("sts:*")),)}),
            ("control", {"control": ((document(deny("sts:*")),),)}),
        ]
    ),
    _row(
        LOGIC, DENIED, "trust", who="user", action="sts:AssumeRole", identity=(document(allow("*")),),
        resource_policy=document(trusting({"AWS": USER}), trusting({"AWS": ACCOUNT}, "Deny")),
    ),
    _row(
        LOGIC, DENIED, "trust", who="service", action="sts:AssumeRole",
        resource_policy=document(trusting({"Service": "ec2.amazonaws.com"}), trusting({"AWS": "*"}, "Deny")),
    ),
    # Role named in a trust policy: boundary and session policy of the caller still limit.
    _row(
        BOUNDARIES, SILENT, "boundary", who="session", action="sts:AssumeRole", identity=(document(allow("*")),),
        boundary=OTHER_ONE, resource_policy=document(trusting({"AWS": OWN_ROLE})),
    ),
    _row(
        SESSIONS, SILENT, "session", who="session", action="sts:AssumeRole", identity=(document(allow("*")),),
        session=(OTHER_ONE,), resource_policy=document(trusting({"AWS": OWN_ROLE})),
    ),
    _row(
        BOUNDARIES, ALLOWED, who="user", action="sts:AssumeRole", boundary=OTHER_ONE,
        resource_policy=document(trusting({"AWS": USER})),
    ),
]  # fmt: skip

ROWS: list[Row] = [
    *_own_limits(),
    *_GRANTS,
    *_TRUST_AND_MORE,
    # The account's own user: nothing needs to allow it, a resource policy may deny it.
    _row("AWS account root user", ALLOWED, who="root"),
    _row("AWS account root user", ALLOWED, who="root", action="s3:GetObject", resource=OBJECT),
    _row(
        "AWS account root user", DENIED, "resource", who="root", action="s3:GetObject", resource=OBJECT,
        resource_policy=document(named({"AWS": ROOT}, "Deny")),
    ),
    # Service control policies limit it too, at every level, and give nothing.
    _row(CONTROLS, ALLOWED, who="root", control=((YES,),)),
    _row(CONTROLS, DENIED, "control", who="root", control=((NO,),)),
    _row(CONTROLS, SILENT, "control", who="root", control=((OTHER_ONE,),)),
    _row(CONTROLS, SILENT, "identity", control=((YES,),)),
    _row(CONTROLS, ALLOWED, identity=(YES,), control=((YES,), (YES,), (YES,))),
    _row(CONTROLS, SILENT, "control", identity=(YES,), control=((YES,), (OTHER_ONE,), (YES,))),
    _row(CONTROLS, ALLOWED, identity=(YES,), control=((OTHER_ONE, YES),)),
    _row(CONTROLS, DENIED, "control", identity=(YES,), control=((YES, NO),)),
    _row(CONTROLS, DENIED, "control", identity=(YES,), control=((OTHER_ONE,), (NO,))),
    _row(
        CONTROLS, SILENT, "control", action="s3:GetObject", resource=OBJECT, control=((YES,),),
        resource_policy=document(named({"AWS": USER})),
    ),
    _row(
        CONTROLS, ALLOWED, action="s3:GetObject", resource=OBJECT, control=((GET,),),
        resource_policy=document(named({"AWS": USER})),
    ),
    _row(
        CONTROLS, ALLOWED, who="service", action="s3:GetObject", resource=OBJECT, control=((NO,), (YES,)),
        resource_policy=document(named({"Service": "ec2.amazonaws.com"})),
    ),
    # Several session policies are one policy in several documents.
    _row(SESSIONS, ALLOWED, who="session", identity=(YES,), session=(OTHER_ONE, YES)),
    _row(SESSIONS, DENIED, "session", who="session", identity=(YES,), session=(YES, NO)),
    _row(SESSIONS, SILENT, "session", who="session", identity=(YES,), session=(OTHER_ONE, OTHER_ONE)),
    # A federated user: user and session policy together.
    _row(SESSIONS, SILENT, "session", who="federated", identity=(document(allow("*")),)),
    _row(SESSIONS, ALLOWED, who="federated", identity=(YES,), session=(YES,)),
    _row(SESSIONS, SILENT, "identity", who="federated", identity=(OTHER_ONE,), session=(YES,)),
    _row(SESSIONS, SILENT, "session", who="federated", identity=(YES,), session=(OTHER_ONE,)),
    # A boundary alone gives nothing.
    _row(BOUNDARIES, SILENT, "identity", boundary=YES),
    _row(BOUNDARIES, ALLOWED, identity=(YES,), boundary=YES),
    _row(BOUNDARIES, SILENT, "boundary", identity=(YES,), boundary=OTHER_ONE),
    _row(BOUNDARIES, SILENT, "boundary", identity=(YES,), boundary=document(deny("s3:*"))),
    _row(BOUNDARIES, DENIED, "boundary", identity=(YES,), boundary=document(deny())),
    # One reason only: an explicit denial before silence.
    _row("Access denied error messages", DENIED, "boundary", identity=(OTHER_ONE,), boundary=NO),
    _row("Access denied error messages", SILENT, "identity", identity=(OTHER_ONE,), boundary=OTHER_ONE),
    _row("Access denied error messages", DENIED, "identity", identity=(NO,), boundary=NO),
]  # fmt: skip
