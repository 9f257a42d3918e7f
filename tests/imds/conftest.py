"""An instance as the metadata service sees it, and a way to ask that service over HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from longshore.aws.instance import InstanceView, ProfileView, RoleCredentials
from longshore.imds.app import Responder, create_app

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CREDENTIALS = RoleCredentials(
    access_key_id="ASIA1", secret_access_key="s", token="t", updated_at=NOW, expires_at=NOW + timedelta(hours=6)
)
PROFILE = ProfileView(
    profile_arn="arn:aws:iam::123456789012:instance-profile/p", profile_id="AIPA1", updated_at=NOW, role_name="r",
    credentials=CREDENTIALS,
)  # fmt: skip
VIEW = InstanceView(
    instance_id="i-1", account="123456789012", region="us-east-1", zone="us-east-1a", zone_id="use1-az6",
    image_id="ami-1", instance_type="m5.large", architecture="x86_64", launch_index=0, reservation_id="r-1",
    launched_at=NOW, private_ip="172.31.0.9", private_dns_name="ip-172-31-0-9.ec2.internal", mac="02:42:ac:1f:00:09",
    network_interface_id="eni-1", subnet_id="subnet-1", subnet_cidr="172.31.0.0/20", vpc_id="vpc-1",
    vpc_cidr="172.31.0.0/16", security_groups=(("sg-1", "default"), ("sg-2", "mine")), user_data=b"#!/bin/sh\n",
    tags=(("team", "a"),), document='{"instanceId" : "i-1"}', signature="s" * 100,
)  # fmt: skip


@pytest.fixture
def view() -> InstanceView:
    return VIEW


@pytest.fixture
def profile() -> ProfileView:
    return PROFILE


class Service:
    """One metadata service; `views` address -> the instance that has it."""

    def __init__(self) -> None:
        self.now = NOW
        self.views = {VIEW.private_ip: VIEW}
        self._respond = Responder(key=b"k" * 32, now=lambda: self.now, nonce=lambda: b"12345678")
        self._app = create_app(self)

    def resolve_by_private_ip(self, private_ip: str) -> str | None:
        view = self.views.get(private_ip)
        return view.instance_id if view is not None else None

    async def answer(self, instance_id: str, method: str, path: str, headers: Any) -> Any:
        view = next(each for each in self.views.values() if each.instance_id == instance_id)
        return self._respond(view, method, path, headers)

    def ask(
        self, method: str, path: str, peer: str = VIEW.private_ip, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """(status, headers, body). A header is given by its name with `_` for `-`."""
        sent: list[Any] = []
        raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": method, "path": path.split("?")[0], "raw_path": path.encode(), "headers": raw,
            "query_string": path.partition("?")[2].encode(), "client": (peer, 40000), "scheme": "http",
            "server": ("169.254.169.254", 80), "http_version": "1.1",
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self._app(scope, receive, send))
        shown = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], shown, b"".join(each.get("body", b"") for each in sent[1:]).decode()

    def token(self, seconds: int = 60, **more: str) -> str:
        status, _, token = self.ask(
            "PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds=str(seconds), **more
        )
        assert status == 200
        return token


@pytest.fixture
def service() -> Service:
    return Service()
