"""What a refusal tells only to those who may read it: sealed, and readable in the account of the caller alone.

Source: STS API reference, DecodeAuthorizationMessage.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from longshore.kit.sealing import Sealer

_PURPOSE = "authorization-message"
_DIGITS = 12  # of an account's number, which stands first


def encode(sealer: Sealer, account: str, message: str) -> str:
    """Letters, digits, `-` and `_`, as AWS's messages are; at most 10,240 of them can be decoded."""
    sealed = sealer.seal(account.encode() + zlib.compress(message.encode()), _PURPOSE)
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def decode(sealer: Sealer, account: str, encoded: str) -> str:
    """ValueError: it is no message of this house's, or one of another account's."""
    try:
        sealed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    plain = sealer.unseal(sealed, _PURPOSE)
    if plain[:_DIGITS] != account.encode():
        raise ValueError("a message of another account")
    return zlib.decompress(plain[_DIGITS:]).decode()
