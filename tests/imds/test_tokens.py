"""Session tokens of the metadata service: bound to their instance, their key and their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from longshore.imds import tokens

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = b"k" * 32


def mint(key=KEY, instance_id="i-1", ttl=60, nonce=b"12345678"):
    return tokens.mint(key, instance_id, ttl, NOW, nonce)


def test_a_token_has_56_letters_and_holds_until_its_end() -> None:
    token = mint()
    assert len(token) == 56 and token.isascii()
    assert tokens.is_valid(KEY, "i-1", token, NOW + timedelta(seconds=59.999))
    assert not tokens.is_valid(KEY, "i-1", token, NOW + timedelta(seconds=60))
    assert tokens.remaining_seconds(token, NOW + timedelta(seconds=10)) == 50


def test_a_token_is_of_one_instance_and_one_key() -> None:
    assert not tokens.is_valid(KEY, "i-2", mint(), NOW)
    assert not tokens.is_valid(b"x" * 32, "i-1", mint(), NOW)
    assert mint() != mint(nonce=b"87654321")


@given(st.integers(0, 41), st.integers(1, 255))
def test_whatever_byte_is_changed_the_token_holds_no_longer(at, change) -> None:
    import base64

    raw = bytearray(base64.urlsafe_b64decode(mint()))
    raw[at] ^= change
    assert not tokens.is_valid(KEY, "i-1", base64.urlsafe_b64encode(bytes(raw)).decode(), NOW)


@given(st.text(max_size=80))
def test_whatever_text_comes_as_a_token_is_no_error(text) -> None:
    assert not tokens.is_valid(KEY, "i-1", text, NOW)
