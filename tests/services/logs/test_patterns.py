from __future__ import annotations

import pytest

from longshore.services.logs import patterns


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ("  ", "anything", True),
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("error", "[ERROR 400] BAD REQUEST", False),
        ("ERROR BAD", "[ERROR 400] BAD REQUEST", True),
        ("BAD ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR GOOD", "[ERROR 400] BAD REQUEST", False),
        ("?GOOD ?BAD", "[ERROR 400] BAD REQUEST", True),
        ("?GOOD ?WORSE", "[ERROR 400] BAD REQUEST", False),
        ("ERROR -BAD", "[ERROR 400] BAD REQUEST", False),
        ("-BAD", "[ERROR 419] MISSING", True),
        ("ERROR ?GOOD", "[ERROR 400] BAD REQUEST", True),  # beside other terms `?` is ignored
        ('"BAD REQUEST"', "[ERROR 400] BAD REQUEST", True),
        ('"REQUEST BAD"', "[ERROR 400] BAD REQUEST", False),
        ('"a \\"quoted\\" word"', 'say a "quoted" word', True),
        ('-"BAD REQUEST" ERROR', "[ERROR 400] BAD REQUEST", False),
    ],
)
def test_terms(pattern, message, matches) -> None:
    assert patterns.compiled(pattern)(message) is matches


@pytest.mark.parametrize("pattern", ["{ $.a = 1 }", "[ip, user]", "%[a-z]+%", '"open', 'a"b'])
def test_what_is_not_offered(pattern) -> None:
    with pytest.raises(patterns.NotOffered):
        patterns.compiled(pattern)
