"""Which statements speak of an action and a resource.

Sources are pages of the IAM user guide, "IAM JSON policy elements: ...".
"""

from __future__ import annotations

from typing import Any

from policy.tables.row import ACCOUNT, ALLOWED, DENIED, OTHER, QUEUE, ROLE, SILENT, USER, Row, allow, deny, document

ACTION, NOT_ACTION = "Action", "NotAction"
RESOURCE, NOT_RESOURCE, VARIABLES, VERSION = "Resource", "NotResource", "Policy variables and tags", "Version"
SUBMIT = "batch:SubmitJob"
BUCKET = "arn:aws:s3:::bucket"


def _row(
    source: str, expected: str, *statements: dict[str, Any], version: str | None = "2012-10-17", **more: Any
) -> Row:
    return Row(source=source, expected=expected, identity=(document(*statements, version=version),), **more)


def _not_action(actions: Any, effect: str = "Allow", resource: Any = "*") -> dict[str, Any]:
    return {"Effect": effect, "NotAction": actions, "Resource": resource}


def _not_resource(resources: Any, effect: str = "Allow", action: Any = "iam:GetRole") -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "NotResource": resources}


# (expected, pattern, action)
_ACTIONS: list[tuple[str, Any, str]] = [
    (ALLOWED, "iam:GetRole", "iam:GetRole"),
    (ALLOWED, "IAM:getrole", "iam:GetRole"),
    (ALLOWED, "iam:GETROLE", "iam:GetRole"),
    (ALLOWED, "*", "iam:GetRole"),
    (ALLOWED, "iam:*", "iam:GetRole"),
    (ALLOWED, "IAM:*", "iam:GetRole"),
    (ALLOWED, "iam:Get*", "iam:GetRole"),
    (ALLOWED, "iam:*Role", "iam:GetRole"),
    (ALLOWED, "iam:*e*o*", "iam:GetRole"),
    (ALLOWED, "iam:GetRole*", "iam:GetRole"),
    (ALLOWED, "iam:G?tRole", "iam:GetRole"),
    (ALLOWED, "iam:???????", "iam:GetRole"),
    (ALLOWED, "iam:?*", "iam:GetRole"),
    (ALLOWED, ["s3:*", "iam:GetRole"], "iam:GetRole"),
    (ALLOWED, ["iam:GetRole", "iam:Get*"], "iam:GetRole"),
    (ALLOWED, SUBMIT, "batch:submitjob"),
    (ALLOWED, "batch:sub*", SUBMIT),
    (SILENT, "iam:GetRol", "iam:GetRole"),
    (SILENT, "iam:GetRoles", "iam:GetRole"),
    (SILENT, "iam:Get", "iam:GetRole"),
    (SILENT, "iam:GetRole?", "iam:GetRole"),
    (SILENT, "iam:??????", "iam:GetRole"),
    (SILENT, "iam:Get*e?", "iam:GetRole"),
    (SILENT, "iam:List*", "iam:GetRole"),
    (SILENT, "s3:*", "iam:GetRole"),
    (SILENT, "ia:*", "iam:GetRole"),
    (SILENT, "iam:GetR.le", "iam:GetRole"),
    (SILENT, "iam:Get[R]ole", "iam:GetRole"),
    (SILENT, [], "iam:GetRole"),
    (SILENT, ["s3:*", "batch:*", "iam:PassRole"], "iam:GetRole"),
]

# (expected, the NotAction of an Allow, the NotAction of a Deny beside an Allow of everything; None: there is none)
_NOT_ACTIONS: list[tuple[str, Any, Any]] = [
    (SILENT, "iam:GetRole", None),
    (SILENT, "IAM:getrole", None),
    (SILENT, "iam:*", None),
    (SILENT, "*", None),
    (SILENT, ["iam:*", "organizations:*", "account:*"], None),
    (SILENT, "iam:Get?ole", None),
    (ALLOWED, "s3:*", None),
    (ALLOWED, "iam:PassRole", None),
    (ALLOWED, ["iam:List*", "iam:GetUser"], None),
    (ALLOWED, "iam:GetRol", None),
    # An Allow with NotAction denies nothing of what it lists.
    (ALLOWED, None, "iam:GetRole"),
    (ALLOWED, None, ["sts:*", "iam:Get*"]),
    (DENIED, None, "sts:*"),
    (DENIED, None, ["iam:PassRole", "s3:*"]),
    (ALLOWED, None, "*"),
]

# (expected, pattern, resource)
_RESOURCES: list[tuple[str, Any, str]] = [
    (ALLOWED, "*", ROLE),
    (ALLOWED, "**", ROLE),
    (ALLOWED, ROLE, ROLE),
    (ALLOWED, [QUEUE, ROLE], ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT}:role/*", ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT}:role/team/*", ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT}:*", ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT}:role/*/target", ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT}:role*target", ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT}:role/t??m/t*t", ROLE),
    (ALLOWED, "arn:aws:iam::*:role/team/target", ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT[:4]}*:role/team/target", ROLE),
    (ALLOWED, "arn:aws:iam::????????????:role/team/target", ROLE),
    (ALLOWED, "arn:*:iam::*:role/team/target", ROLE),
    (ALLOWED, "arn:aws:batch:*:*:job-queue/q", QUEUE),
    (ALLOWED, "arn:aws:batch:us-*-1:*:job-queue/*", QUEUE),
    (ALLOWED, f"arn:aws:batch:??-????-?:{ACCOUNT}:job-queue/q", QUEUE),
    (SILENT, "arn:aws:batch::*:job-queue/q", QUEUE),
    (SILENT, "arn:aws:batch:eu-*:*:job-queue/q", QUEUE),
    (ALLOWED, f"{ROLE}*", ROLE),
    # The path belongs to a role's name.
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/target", ROLE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/team", ROLE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/Team/target", ROLE),
    (SILENT, f"arn:aws:batch:us-east-1:{ACCOUNT}:Job-Queue/q", QUEUE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/team/target?", ROLE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/team/targe", ROLE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:user/*", ROLE),
    (SILENT, f"arn:aws:iam::{OTHER}:role/*", ROLE),
    (SILENT, "arn:aws:iam::?:role/team/target", ROLE),
    (SILENT, "arn:aws-cn:iam::*:role/team/target", ROLE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/t.*m/target", ROLE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/[t]eam/target", ROLE),
    # A star of one of the first five parts stays in its part.
    (SILENT, "arn:aws:s3:*:*:key", "arn:aws:s3:::b:key"),
    (SILENT, QUEUE, ROLE),
    (SILENT, "arn:aws:s3:::*", ROLE),
    # A star of the sixth runs over slashes and colons.
    (ALLOWED, f"{BUCKET}/*", f"{BUCKET}/a/b/c"),
    (ALLOWED, f"{BUCKET}/*", f"{BUCKET}/a:b:c"),
    (ALLOWED, f"{BUCKET}/*", f"{BUCKET}/"),
    (ALLOWED, f"{BUCKET}*", BUCKET),
    (ALLOWED, f"{BUCKET}/*/c", f"{BUCKET}/a/b:d/c"),
    (ALLOWED, f"{BUCKET}/?", f"{BUCKET}/:"),
    (SILENT, f"{BUCKET}/*", BUCKET),
    (SILENT, BUCKET, f"{BUCKET}/a"),
    (SILENT, f"{BUCKET}/a*", f"{BUCKET}/A"),
    # What is asked about is a text, also where it has stars.
    (ALLOWED, f"{BUCKET}/*", f"{BUCKET}/*"),
    (SILENT, f"{BUCKET}/a", f"{BUCKET}/*"),
    # An action without resource types is asked about `*`, which only `*` names.
    (ALLOWED, "*", "*"),
    (SILENT, "arn:aws:iam::*:*", "*"),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/*", "*"),
    (SILENT, BUCKET, "*"),
    # Observed, not documented: an ARN cut short is filled up with stars.
    (ALLOWED, "arn:aws:iam", ROLE),
    (SILENT, "arn:aws:s3", ROLE),
]

# (expected, the NotResource of an Allow; of a Deny beside an Allow of everything; resource)
_NOT_RESOURCES: list[tuple[str, Any, Any, str]] = [
    (SILENT, ROLE, None, ROLE),
    (SILENT, f"arn:aws:iam::{ACCOUNT}:role/*", None, ROLE),
    (SILENT, "*", None, ROLE),
    (SILENT, [QUEUE, ROLE], None, ROLE),
    (ALLOWED, QUEUE, None, ROLE),
    (ALLOWED, f"arn:aws:iam::{ACCOUNT}:role/target", None, ROLE),
    (ALLOWED, ["arn:aws:s3:::*", f"arn:aws:iam::{OTHER}:*"], None, ROLE),
    (ALLOWED, None, ROLE, ROLE),
    (ALLOWED, None, ["arn:aws:s3:::*", f"arn:aws:iam::{ACCOUNT}:role/team/*"], ROLE),
    (DENIED, None, QUEUE, ROLE),
    (DENIED, None, "arn:aws:s3:::*", "*"),
    (SILENT, "*", None, "*"),
    (ALLOWED, ROLE, None, "*"),
]

_ANN = {"aws:username": "ann", "aws:principaltag/team": "blue"}
_HOME = f"arn:aws:iam::{ACCOUNT}:role/team/"
# (expected, pattern, resource, context)
_VARIABLES: list[tuple[str, str, str, dict[str, Any]]] = [
    (ALLOWED, _HOME + "${aws:username}", _HOME + "ann", _ANN),
    (ALLOWED, _HOME + "${AWS:UserName}", _HOME + "ann", _ANN),
    (ALLOWED, _HOME + "${ aws:username }", _HOME + "ann", _ANN),
    (ALLOWED, _HOME + "${aws:username}*", _HOME + "ann-2", _ANN),
    (ALLOWED, _HOME + "${aws:PrincipalTag/team}/${aws:username}", _HOME + "blue/ann", _ANN),
    (ALLOWED, _HOME + "${aws:PrincipalTag/Team}", _HOME + "blue", _ANN),
    (SILENT, _HOME + "${aws:username}", _HOME + "bob", _ANN),
    (SILENT, _HOME + "${aws:username}", _HOME + "Ann", _ANN),
    (SILENT, _HOME + "${aws:username}", _HOME + "${aws:username}", _ANN),
    # A variable without a value: the resource matches nothing.
    (SILENT, _HOME + "${aws:username}", _HOME + "ann", {}),
    (SILENT, _HOME + "*${aws:username}", _HOME + "ann", {}),
    (SILENT, _HOME + "${aws:nothing}", _HOME, _ANN),
    # A default stands in for an absent key alone.
    (ALLOWED, _HOME + "${aws:username, 'nobody'}", _HOME + "nobody", {}),
    (ALLOWED, _HOME + "${aws:username,'nobody'}", _HOME + "nobody", {}),
    (ALLOWED, _HOME + "${aws:username, ''}x", _HOME + "x", {}),
    (ALLOWED, _HOME + "${aws:username, 'nobody'}", _HOME + "ann", _ANN),
    (SILENT, _HOME + "${aws:username, 'nobody'}", _HOME + "nobody", _ANN),
    # What a variable brings is text, whatever it looks like.
    (SILENT, _HOME + "${aws:username}", _HOME + "ann", {"aws:username": "*"}),
    (ALLOWED, _HOME + "${aws:username}", _HOME + "*", {"aws:username": "*"}),
    (SILENT, _HOME + "${aws:username}", _HOME + "ann", {"aws:username": "a?n"}),
    (SILENT, _HOME + "${aws:username}", _HOME + "ann", {"aws:username": "a.n"}),
    # Keys with several values cannot be put in.
    (SILENT, _HOME + "${aws:TagKeys}", _HOME + "ann", {"aws:tagkeys": ["ann"]}),
    # The characters themselves.
    (ALLOWED, _HOME + "${*}", _HOME + "*", {}),
    (SILENT, _HOME + "${*}", _HOME + "ann", {}),
    (ALLOWED, _HOME + "a${?}n", _HOME + "a?n", {}),
    (SILENT, _HOME + "a${?}n", _HOME + "ann", {}),
    (ALLOWED, _HOME + "${$}{aws:username}", _HOME + "${aws:username}", _ANN),
    (SILENT, _HOME + "${$}{aws:username}", _HOME + "ann", _ANN),
    # In the first five parts they are text.
    (SILENT, "arn:aws:iam::${aws:PrincipalAccount}:role/team/target", ROLE, {"aws:principalaccount": ACCOUNT}),
]

ROWS: list[Row] = [
    *(_row(ACTION, expected, allow(pattern or "s3:*"), action=action) for expected, pattern, action in _ACTIONS),
    *(
        _row(NOT_ACTION, expected, *([_not_action(allowed)] if allowed else [allow("*"), _not_action(denied, "Deny")]))
        for expected, allowed, denied in _NOT_ACTIONS
    ),
    *(_row(RESOURCE, expected, allow("*", pattern), resource=asked) for expected, pattern, asked in _RESOURCES),
    *(
        _row(
            NOT_RESOURCE,
            expected,
            *([_not_resource(allowed)] if allowed else [allow("*"), _not_resource(denied, "Deny")]),
            resource=asked,
        )
        for expected, allowed, denied, asked in _NOT_RESOURCES
    ),
    *(
        _row(VARIABLES, expected, allow("*", pattern), resource=asked, context=context)
        for expected, pattern, asked, context in _VARIABLES
    ),
    # A Deny whose variable has no value denies nothing.
    _row(VARIABLES, ALLOWED, allow(), deny(resource=_HOME + "${aws:nothing}"), resource=_HOME + "ann"),
    _row(VARIABLES, DENIED, allow(), deny(resource=_HOME + "${aws:username}"), resource=_HOME + "ann", context=_ANN),
    # NotResource with a variable that has no value leaves nothing out.
    _row(VARIABLES, ALLOWED, _not_resource(_HOME + "${aws:nothing}"), resource=_HOME + "ann"),
    _row(VARIABLES, SILENT, _not_resource(_HOME + "${aws:username}"), resource=_HOME + "ann", context=_ANN),
    _row(VARIABLES, ALLOWED, _not_resource(_HOME + "${aws:username}"), resource=_HOME + "bob", context=_ANN),
    # Version: only 2012-10-17 knows variables; each document goes by its own.
    *(
        Row(
            source=VERSION,
            expected=expected,
            identity=(document(allow("*", _HOME + "${aws:username}"), version=version),),
            resource=_HOME + asked,
            context=_ANN,
        )
        for version, asked, expected in [
            ("2012-10-17", "ann", ALLOWED),
            ("2012-10-17", "${aws:username}", SILENT),
            ("2008-10-17", "ann", SILENT),
            ("2008-10-17", "${aws:username}", ALLOWED),
            (None, "ann", SILENT),
            (None, "${aws:username}", ALLOWED),
        ]
    ),
    *(
        _row(VERSION, expected, allow("*", pattern), version="2008-10-17", resource=_HOME + asked)
        for pattern, asked, expected in [
            (_HOME + "${*}", "${anything}", ALLOWED),
            (_HOME + "${?}", "${x}", ALLOWED),
            (_HOME + "${?}", "?", SILENT),
            (_HOME + "${*}", "*", SILENT),
        ]
    ),
    Row(
        source=VERSION,
        expected=ALLOWED,
        identity=(
            document(deny(resource=_HOME + "${aws:username}"), version=None),
            document(allow(resource=_HOME + "${aws:username}")),
        ),
        resource=_HOME + "ann",
        context=_ANN,
    ),
    # Statement: one may stand alone, and several count as one list.
    Row(source="Statement", expected=ALLOWED, identity=({"Version": "2012-10-17", "Statement": allow()},)),
    Row(source="Statement", expected=ALLOWED, identity=(document(allow("s3:*")), document(allow()))),
    Row(source="Statement", expected=DENIED, identity=(document(allow()), document(allow("s3:*"), deny()))),
    Row(source="Statement", expected=SILENT, identity=()),
    Row(source="Effect", expected=DENIED, identity=(document(deny(), allow(), allow("*")),)),
    Row(source="Effect", expected=SILENT, identity=(document(deny("s3:*")),)),
    Row(source="Effect", expected=DENIED, identity=(document(deny()),)),
    Row(source="Effect", expected=ALLOWED, identity=(document(allow(), deny(resource=USER)),)),
]
