"""Identifiers as AWS forms them. The randomness is an argument: the world's, or a seed's."""

from __future__ import annotations

from typing import Protocol

_UNIQUE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # AWS's unique ids use the base-32 letters and digits.
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
        """`AROA`, `AIDA`, `AIPA`, `ANPA`: 21 characters. `AKIA`, `ASIA`: 20."""
        length = (20 if prefix in ("AKIA", "ASIA") else 21) - len(prefix)
        return prefix + "".join(_UNIQUE_ALPHABET[byte & 31] for byte in self._entropy.random_bytes(length))

    def secret(self, length: int = 40) -> str:
        """A secret access key: 40 characters."""
        return "".join(_SECRET_ALPHABET[byte & 63] for byte in self._entropy.random_bytes(length))
