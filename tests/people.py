"""People, and policies for them: what tests of permissions are made of."""

from __future__ import annotations

import json
from typing import Any

from in_process import InProcessHouse


def document(*statements: dict[str, Any], version: str | None = "2012-10-17") -> str:
    head = {"Version": version} if version else {}
    return json.dumps({**head, "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def trust(principal: Any, action: Any = "sts:AssumeRole", **more: Any) -> str:
    return document({"Effect": "Allow", "Principal": principal, "Action": action, **more})


EC2_TRUST = trust({"Service": "ec2.amazonaws.com"})


class Person:
    """A user with a key of its own: `client(service)` acts as that user."""

    def __init__(self, house: InProcessHouse, name: str, *, iam: Any = None, **more: Any) -> None:
        """`iam`: the client that makes the user; None: that of the first account's root user."""
        self._house = house
        self.iam = iam or house.client("iam")
        self.name = name
        self.user = self.iam.create_user(UserName=name, **more)["User"]
        self.arn = self.user["Arn"]
        self.key = self.iam.create_access_key(UserName=name)["AccessKey"]

    def client(self, service: str) -> Any:
        return self._house.client(service, self.key["AccessKeyId"], self.key["SecretAccessKey"])

    def may(self, *statements: dict[str, Any], name: str = "given") -> None:
        self.iam.put_user_policy(UserName=self.name, PolicyName=name, PolicyDocument=document(*statements))
