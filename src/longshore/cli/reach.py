"""The way from a command to the server that runs: where it is, its root keys, one signed request."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from longshore.aws.sigv4 import sign
from longshore.server.keys import read_account_keys, read_root_keys
from longshore.server.whereabouts import Whereabouts, read_whereabouts
from longshore.settings import default_state_dir

_TIMEOUT_SECONDS = 30


class Refused(Exception):
    """The server answered with an error, or not at all."""


class NotThere(Refused):
    """No server answers."""


class Reached(Struct, frozen=True):
    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str

    def get(self, path: str) -> dict[str, Any]:
        """The JSON answer of a path that AWS has no operation for. Refused."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The same with a body, as JSON. Refused; NotThere: no server answers."""
        url = self.endpoint + quote(path)
        content = msgspec.json.encode(body) if body is not None else b""
        headers = sign(
            method, url, {}, content, "longshore", self.region, self.access_key_id, self.secret_access_key, None,
            datetime.now(UTC),
        )  # fmt: skip
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, parts.path, content or None, headers)
            answer = connection.getresponse()
            read = answer.read()
        except OSError as error:
            raise NotThere(f"no server answers at {self.endpoint}: {error}") from error
        finally:
            connection.close()
        try:
            value = msgspec.json.decode(read, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Refused(f"{self.endpoint} does not answer as Longshore does: status {answer.status}") from error
        if answer.status >= 300:
            raise Refused(f"{value.get('__type')}: {value.get('message')}")
        return value


def reach(
    state: Path | None, *, host: str | None = None, port: int | None = None, account: str | None = None
) -> Reached:
    """The server of the state folder, as it was last started. Ends the command when none ever was.

    `account`: as whose root user; None: the first one's.
    """
    folder = state or default_state_dir()
    there = read_whereabouts(folder)
    if host is not None or port is not None:
        shown = host or there.host
        shown = f"[{shown}]" if ":" in shown else shown
        endpoint = f"http://{shown}:{port or there.port}"
    else:
        endpoint = there.endpoint
    if account is not None and account != there.account:
        return _as_root_of(folder, there, endpoint, account)
    given = os.environ.get("LONGSHORE_ROOT_ACCESS_KEY_ID"), os.environ.get("LONGSHORE_ROOT_SECRET_ACCESS_KEY")
    if given[0] and given[1]:
        return Reached(endpoint, there.region, given[0], given[1])
    try:
        found = read_root_keys(folder)
    except PermissionError:
        sys.exit(f"longshore: the keys in `{folder}` are another user's; run as that user")
    if found is None:
        sys.exit(f"longshore: no server has been started with the state folder `{folder}` yet: there are no keys")
    return Reached(endpoint, there.region, found.access_key_id, found.secret_access_key)


def _as_root_of(folder: Path, there: Whereabouts, endpoint: str, account: str) -> Reached:
    try:
        found = read_account_keys(folder).get(account)
    except PermissionError:
        sys.exit(f"longshore: the keys in `{folder}` are another user's; run as that user")
    if found is None:
        sys.exit(
            f"longshore: no key of an account {account} is kept in `{folder}`; `longshore accounts list` shows all"
        )
    return Reached(endpoint, there.region, found.access_key_id, found.secret_access_key)
