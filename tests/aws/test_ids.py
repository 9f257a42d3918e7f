"""Ids of access keys tell the account, as AWS's do."""

from __future__ import annotations

import random

import pytest

from in_process import SeededEntropy
from longshore.aws.ids import Ids, account_of_access_key


@pytest.mark.parametrize("account", ["000000000000", "000000000001", "123456789012", "999999999999"])
def test_an_account_is_read_from_the_key_that_was_made_for_it(account: str) -> None:
    ids = Ids(SeededEntropy(1))
    made = {ids.access_key_id(prefix, account) for prefix in ("AKIA", "ASIA") for _ in range(50)}
    assert len(made) == 100
    for key in made:
        assert len(key) == 20
        assert key[4] >= "Q" or key[4].isdigit()
        assert account_of_access_key(key) == account


@pytest.mark.parametrize(
    ("key", "account"),
    [
        # From public write-ups on AWS's keys: A. Steele, "AWS Access Key ID formats"; T. Be'ery, "A short note on AWS KEY ID".
        ("ASIAY34FZKBOKMUTVV7A", "609629065308"),
        ("ASIAQNZGKIQY56JQ7WML", "029608264753"),
        # AWS's examples, and what is none at all.
        ("AKIAIOSFODNN7EXAMPLE", None),
        ("AKIAI44QH8DHBEXAMPLE", None),
        ("AKIA7777777777777777", None),  # More than twelve digits hold.
        ("ASIAY34FZKBOKMUTVV7a", None),
        ("ASIAY34FZKBOKMUTVV7", None),
        ("", None),
    ],
)
def test_keys_that_are_known(key: str, account: str | None) -> None:
    assert account_of_access_key(key) == account


def test_whatever_is_asked_is_answered() -> None:
    chance = random.Random(3)
    for _ in range(300):
        account_of_access_key("".join(chr(chance.randrange(1, 400)) for _ in range(chance.randrange(25))))
