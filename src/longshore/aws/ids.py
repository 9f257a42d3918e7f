"""Identifiers as AWS forms them. The randomness is an argument: the world's, or a seed's."""

from __future__ import annotations

from typing import Protocol

_UNIQUE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # AWS's unique ids use the base-32 letters and digits.
_KEY_LENGTH = 20
# Of the 80 bits behind the prefix: keys since 2019 have it, and older ones none of the account.
_EMBEDS_ACCOUNT = 1 << 79
_AFTER_ACCOUNT = 39  # bits: what makes keys of one account differ
_SECRET_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class Entropy(Protocol):
    def random_bytes(self, count: int) -> bytes: ...


class Ids:
    """Makes every identifier of the house from one source of randomness."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def uuid(self) -> str:
        """A version 4 UUID, 36 characters."""
        raw = self._entropy.random_bytes(16)
        text = raw.hex()
        variant = "89ab"[raw[8] >> 4 & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def hex(self, digits: int) -> str:
        """Lower-case hexadecimal digits: `i-` takes 17, an ECS task id takes 32."""
        return self._entropy.random_bytes((digits + 1) // 2).hex()[:digits]

    def unique_id(self, prefix: str) -> str:
        """`AROA`, `AIDA`, `AIPA`, `ANPA`: 21 characters."""
        return prefix + "".join(_UNIQUE_ALPHABET[byte & 31] for byte in self._entropy.random_bytes(21 - len(prefix)))

    def access_key_id(self, prefix: str, account: str) -> str:
        """`AKIA`, `ASIA`: 20 characters, which tell the account as AWS's do (`account_of_access_key`)."""
        chance = int.from_bytes(self._entropy.random_bytes(5)) & ((1 << _AFTER_ACCOUNT) - 1)
        bits = _EMBEDS_ACCOUNT | int(account) << _AFTER_ACCOUNT | chance
        return prefix + "".join(_UNIQUE_ALPHABET[bits >> shift & 31] for shift in range(75, -1, -5))

    def secret(self, length: int = 40) -> str:
        """A secret access key: 40 characters."""
        return "".join(_SECRET_ALPHABET[byte & 63] for byte in self._entropy.random_bytes(length))


def account_of_access_key(access_key_id: str) -> str | None:
    """The account that the id of an access key tells; None: it is of the form that tells none.

    AWS does not say so; it was found out, and holds for its keys since 2019: behind the prefix stand sixteen base-32
    digits, of them one bit that is set, 40 bits of account, 39 of chance (T. Be'ery, "A short note on AWS KEY ID", 2023).
    """
    digits = access_key_id[4:]
    if len(access_key_id) != _KEY_LENGTH or not set(digits) <= set(_UNIQUE_ALPHABET):
        return None
    bits = 0
    for digit in digits:
        bits = bits << 5 | _UNIQUE_ALPHABET.index(digit)
    account = f"{(bits & ~_EMBEDS_ACCOUNT) >> _AFTER_ACCOUNT:012d}"
    return account if bits & _EMBEDS_ACCOUNT and len(account) == 12 else None
