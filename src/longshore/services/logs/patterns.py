"""Filter patterns of unstructured events. Pure: a pattern compiled once, asked of each message.

    error timeout       both terms, in any order, with regard to case
    "exit status 1"     the phrase
    ?error ?warning     any of them
    error -expected     the one and not the other

Source: CloudWatch Logs user guide, "Filter pattern syntax". Patterns of JSON (`{ $.level = ... }`), of columns
(`[ip, user, ...]`) and regular expressions (`%...%`) are not offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Test = Callable[[str], bool]  # whether a message matches

_TERM = re.compile(r'(?P<sign>[?-]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|(?P<word>[^\s"]+))(?=\s|$)')


class NotOffered(ValueError):
    """A pattern of a kind that is not known here, or of none."""


def compiled(pattern: str) -> Test:
    """The test of the pattern; an empty one matches all. NotOffered."""
    text = pattern.strip()
    if text[:1] in ("{", "[") or (text[:1] == "%" and text[-1:] == "%"):
        raise NotOffered(pattern)
    wanted: list[str] = []
    unwanted: list[str] = []
    either: list[str] = []
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise NotOffered(pattern)
        phrase = found["phrase"]
        term = found["word"] if phrase is None else re.sub(r"\\(.)", r"\1", phrase)
        {"": wanted, "-": unwanted, "?": either}[found["sign"]].append(term)
        at = found.end()
        while at < len(text) and text[at].isspace():
            at += 1
    if wanted or unwanted:
        either = []  # User guide: beside other terms `?` is ignored.

    def test(message: str) -> bool:
        return (
            all(term in message for term in wanted)
            and not any(term in message for term in unwanted)
            and (not either or any(term in message for term in either))
        )

    return test
