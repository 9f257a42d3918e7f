"""One row of a table: policies, a question, and what AWS answers, with the page that says so.

Rows are asked three ways: of the evaluator itself, of SimulateCustomPolicy over the wire, and, where the house can
bring the question about, by a principal with those policies making the call.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

ACCOUNT, OTHER = "123456789012", "210987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/target"
QUEUE = f"arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/q"
USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
OWN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/ops"  # whose session calls
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/job"
FEDERATED = f"arn:aws:sts::{ACCOUNT}:federated-user/ann"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
STRANGER = f"arn:aws:iam::{OTHER}:user/ann"

ALLOWED = "allowed"
DENIED = "explicitDeny"
SILENT = "implicitDeny"

# What the house itself says of one who calls `iam:GetRole` on the role: `ann`, tagged team=blue, in January 2026.
TAGS = {"team": "blue"}

Document = dict[str, Any]
Values = "str | list[str]"


class Row(Struct, frozen=True, kw_only=True):
    source: str
    expected: str
    by: str = ""  # which kind of policy denies or is silent; empty: not told
    who: str = "user"  # user, session, federated, root, stranger, service
    action: str = "iam:GetRole"
    resource: str = ROLE
    context: dict[str, Any] = {}
    identity: tuple[Document, ...] = ()
    boundary: Document | None = None
    session: tuple[Document, ...] = ()
    control: tuple[tuple[Document, ...], ...] = ()
    resource_policy: Document | None = None
    owner: str | None = None

    @property
    def is_trust(self) -> bool:
        return self.resource_policy is not None and self.action.startswith("sts:")


def document(*statements: dict[str, Any], version: str | None = "2012-10-17") -> Document:
    return {**({"Version": version} if version else {}), "Statement": list(statements)}


def allow(action: Any = "iam:GetRole", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "iam:GetRole", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def named(principal: Any, effect: str = "Allow", action: Any = "s3:GetObject", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": "*", **more}


def trusting(principal: Any, effect: str = "Allow", action: Any = "sts:AssumeRole", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": principal, "Action": action, **more}
