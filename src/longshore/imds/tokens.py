"""Session tokens of the metadata service, version 2. Pure.

A token says until when it holds and is bound to its instance by a keyed hash: nothing needs to be remembered.

Source: EC2 user guide, "How Instance Metadata Service Version 2 works": a token cannot be used on another instance.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime, timedelta

from longshore.aws.clock import from_milliseconds, milliseconds

TTL_MAX_SECONDS = 21600

_NONCE_BYTES = 8
_HASH_BYTES = 26  # with 8 of the end and 8 of the nonce: 42 bytes, 56 characters, as AWS's tokens


def mint(key: bytes, instance_id: str, ttl_seconds: int, now: datetime, nonce: bytes) -> str:
    """56 characters. `nonce`: 8 bytes, so that two tokens of one moment differ."""
    head = milliseconds(now + timedelta(seconds=ttl_seconds)).to_bytes(8, "big") + nonce[:_NONCE_BYTES]
    return base64.urlsafe_b64encode(head + _hash(key, instance_id, head)).decode()


def is_valid(key: bytes, instance_id: str, token: str, now: datetime) -> bool:
    """Whether the token was made with this key for this instance, and has not ended."""
    try:
        raw = base64.urlsafe_b64decode(token.encode())
    except (binascii.Error, ValueError):
        return False
    head, mark = raw[: 8 + _NONCE_BYTES], raw[8 + _NONCE_BYTES :]
    if len(raw) != 8 + _NONCE_BYTES + _HASH_BYTES or not hmac.compare_digest(mark, _hash(key, instance_id, head)):
        return False
    return now < from_milliseconds(int.from_bytes(head[:8], "big"))


def remaining_seconds(token: str, now: datetime) -> int:
    """How long a valid token still holds."""
    ends = from_milliseconds(int.from_bytes(base64.urlsafe_b64decode(token.encode())[:8], "big"))
    return int((ends - now).total_seconds())


def _hash(key: bytes, instance_id: str, head: bytes) -> bytes:
    return hmac.new(key, instance_id.encode() + b"\0" + head, hashlib.sha256).digest()[:_HASH_BYTES]
