"""Filters and pages of the Describe operations. Pure.

Source: EC2 user guide, "Filter a list of resources": values of one filter are joined by OR, filters by AND; `*` is any
number of characters, `?` one; case counts.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from longshore.aws.errors import AwsError

T = TypeVar("T")
# filter name -> the values that an item has under it.
Values = Mapping[str, Callable[[T], Sequence[str]]]

_PAGE = 1000
_PAGE_LEAST = 5  # API reference, DescribeInstances, MaxResults: between 5 and 1000


def select(
    items: Sequence[T],
    filters: Sequence[Mapping[str, Any]] | None,
    values: Values[T],
    tags: Callable[[T], Mapping[str, str]] | None = None,
) -> list[T]:
    """Those that pass every filter. InvalidParameterValue: a filter's name is unknown."""  # fmt: skip
    chosen = list(items)
    for each in filters or ():
        name, wanted = each.get("Name") or "", [_pattern(value) for value in each.get("Values") or ()]
        read = _reader(name, values, tags)
        chosen = [item for item in chosen if any(want.fullmatch(have) for have in read(item) for want in wanted)]
    return chosen


def _reader(
    name: str, values: Values[T], tags: Callable[[T], Mapping[str, str]] | None
) -> Callable[[T], Sequence[str]]:
    if tags is not None and name.startswith("tag:"):
        key = name[4:]
        return lambda item: [value for each, value in tags(item).items() if each == key]
    if tags is not None and name == "tag-key":
        return lambda item: list(tags(item))
    if tags is not None and name == "tag-value":
        return lambda item: list(tags(item).values())
    if name not in values:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return values[name]


@lru_cache(1024)
def _pattern(value: str) -> re.Pattern[str]:
    """A backslash takes `*`, `?` and itself as they stand."""
    parts = []
    at = 0
    while at < len(value):
        letter = value[at]
        if letter == "\\" and at + 1 < len(value):
            at += 1
            parts.append(re.escape(value[at]))
        else:
            parts.append({"*": ".*", "?": "."}.get(letter) or re.escape(letter))
        at += 1
    return re.compile("".join(parts), re.DOTALL)


def page(
    items: Sequence[T], request: Mapping[str, Any], key: Callable[[T], str], *, default: int = _PAGE
) -> tuple[list[T], str | None]:
    """The page that `MaxResults` and `NextToken` ask for, and the token of the next. `items` are in the order of `key`.

    A token names the last item shown, so that pages neither repeat nor skip while others write.
    InvalidParameterValue: the token is none of ours.
    """
    size = request.get("MaxResults") or default
    if size < _PAGE_LEAST:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value greater than {_PAGE_LEAST}.",
        )
    rest = list(items)
    token = request.get("NextToken")
    if token:
        last = _untoken(token)
        rest = [item for item in rest if key(item) > last]
    size = min(size, _PAGE)
    if len(rest) <= size:
        return rest, None
    return rest[:size], base64.urlsafe_b64encode(b"1" + key(rest[size - 1]).encode()).decode()


def _untoken(token: str) -> str:
    try:
        plain = base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, ValueError):
        plain = ""
    if not plain.startswith("1"):
        raise AwsError("InvalidParameterValue", "Unable to parse pagination token")
    return plain[1:]
