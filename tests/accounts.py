"""Further accounts of the in-process house, and what has no operation of AWS's: asked as the commands ask it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from in_process import ENDPOINT, REGION, ROOT, InProcessHouse
from longshore.aws.sigv4 import sign
from longshore.aws.wire.http import HttpRequest


class Account:
    """An account with its root key: `client(service)` acts as its root user."""

    def __init__(self, house: InProcessHouse, account: str | None = None, name: str = "other") -> None:
        self._house = house
        status, made = ask(house, "POST", "/_longshore/accounts", {"account": account, "name": name})
        assert status == 200, made
        self.account: str = made["account"]
        self.key_id: str = made["accessKeyId"]
        self.secret: str = made["secretAccessKey"]

    def client(self, service: str, region: str = REGION) -> Any:
        return self._house.client(service, self.key_id, self.secret, region=region)


def limit(house: InProcessHouse, account: str, *levels: list[str]) -> None:
    """Gives the account the service control policies; without any: takes away all."""
    named = [[{"name": f"p{at}", "document": document} for at, document in enumerate(level, 1)] for level in levels]
    status, answer = ask(house, "PUT", f"/_longshore/accounts/{account}/service-control-policies", {"levels": named})
    assert status == 200, answer


def ask(
    house: InProcessHouse,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    key: tuple[str, str, str | None] = (ROOT.access_key_id, ROOT.secret_access_key, None),
) -> tuple[int, dict[str, Any]]:
    """(status, answer) of a path that AWS has no operation for; signed as the commands sign."""
    content = json.dumps(body).encode() if body is not None else b""
    access_key_id, secret, token = key
    headers = sign(
        method, ENDPOINT + quote(path), {}, content, "longshore", REGION, access_key_id, secret, token,
        house.clock.now(),
    )  # fmt: skip
    sent = HttpRequest(
        method=method,
        path=quote(path),
        query_string="",
        headers={"host": ENDPOINT.split("//")[1], **{name.lower(): value for name, value in headers.items()}},
        body=content,
        source_ip="127.0.0.1",
    )
    answer = house.loop.run_until_complete(house.assembly.gateway.handle(sent, ENDPOINT))
    return answer.status, json.loads(answer.body)
