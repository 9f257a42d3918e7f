"""Session credentials: made here, sealed, and opened again when they are shown.

The token holds the whole identity and the secret, under the house's sealing key: no row is written when a role is assumed.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids
from longshore.aws.principal import Principal
from longshore.kit.sealing import Sealer

_PURPOSE = "session"
_DECODER: msgspec.msgpack.Decoder[_Session]


class _Session(Struct, frozen=True):
    principal: Principal
    secret: str


class Credentials(Struct, frozen=True):
    access_key_id: str
    secret_access_key: str
    token: str
    expires_at: datetime

    def shown(self) -> dict[str, Any]:
        return {
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "SessionToken": self.token,
            "Expiration": self.expires_at,
        }


def mint(sealer: Sealer, ids: Ids, principal: Principal) -> Credentials:
    """Credentials of the session; `principal.expires_at` says until when."""
    assert principal.expires_at is not None, "a session ends"
    access_key_id = ids.access_key_id("ASIA", principal.account)
    secret = ids.secret()
    session = _Session(replace(principal, access_key_id=access_key_id), secret)
    token = base64.b64encode(sealer.seal(msgspec.msgpack.encode(session), _PURPOSE)).decode()
    return Credentials(access_key_id, secret, token, principal.expires_at)


def open_session(sealer: Sealer, access_key_id: str, token: str, now: datetime) -> tuple[Principal, str]:
    """Whose session it is, and its secret. AwsError: InvalidClientTokenId, ExpiredToken."""
    session = _open(sealer, token)
    if session is None or session.principal.access_key_id != access_key_id:
        raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)
    expires_at = session.principal.expires_at
    if expires_at is None or now >= expires_at:
        raise AwsError("ExpiredToken", "The security token included in the request is expired", status=403)
    return session.principal, session.secret


@lru_cache(4096)
def _open(sealer: Sealer, token: str) -> _Session | None:
    """None: not one of ours. Opening costs some microseconds, and the same token comes with every call of a session."""
    try:
        return _DECODER.decode(sealer.unseal(base64.b64decode(token, validate=True), _PURPOSE))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return None


_DECODER = msgspec.msgpack.Decoder(_Session)


def forget() -> None:
    """Drops what was opened before."""
    _open.cache_clear()
