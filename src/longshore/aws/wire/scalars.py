"""Scalars that travel as text: in forms, paths, query strings, headers and XML; and the clock's face in each.

Reading never raises anything but `Unreadable`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.aws.clock import EPOCH

Read = Callable[[Any], Any]


class Unreadable(ValueError):
    """A value on the wire is not of its shape's type. The text says what, in words for the caller."""


_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?", re.ASCII)
_RANGES = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_BOOLEANS = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}


def within(kind: str, number: int) -> int:
    low, high = _RANGES[kind]
    if not low <= number <= high:
        raise Unreadable(f"{_shown(number)} is out of the range of {kind}")
    return number


def _shown(value: Any) -> str:
    """At most 64 characters of what was sent. Integers of thousands of digits cannot even be printed."""
    if isinstance(value, int) and value.bit_length() > 128:
        return "The number"
    text = str(value)
    return f"'{text[:64]}'"


def read_integer(text: str) -> int:
    return within("integer", _integer(text))


def read_long(text: str) -> int:
    return within("long", _integer(text))


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise Unreadable(f"{_shown(text)} can not be converted to an Integer")
    return int(text)


def read_float(text: str) -> float:
    if text in _SPECIAL:
        return _SPECIAL[text]
    if not _NUMBER.fullmatch(text):
        raise Unreadable(f"{_shown(text)} can not be converted to a Double")
    return float(text)


def read_boolean(text: str) -> bool:
    value = _BOOLEANS.get(text)
    if value is None:
        raise Unreadable(f"{_shown(text)} can not be converted to a Boolean")
    return value


def read_blob(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Unreadable("A blob is not valid base64") from None


def read_timestamp(text: str) -> datetime:
    """ISO 8601 (`2026-11-24T12:00:00Z`, offsets and fractions too) or epoch seconds."""
    if _NUMBER.fullmatch(text):
        return from_seconds(float(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"{_shown(text)} can not be converted to a Timestamp") from None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise Unreadable(f"{_shown(text)} is out of the range of a Timestamp") from None


def read_string(text: str) -> str:
    return text


def from_seconds(seconds: float) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
    except (OverflowError, ValueError):
        raise Unreadable(f"{_shown(seconds)} is out of the range of a Timestamp") from None


TEXT_READERS: dict[str, Read] = {
    "string": read_string,
    "character": read_string,
    "integer": read_integer,
    "long": read_long,
    "float": read_float,
    "double": read_float,
    "boolean": read_boolean,
    "blob": read_blob,
    "timestamp": read_timestamp,
}


def seconds(moment: datetime) -> int | float:
    """Epoch seconds, whole where they are whole, to the millisecond else, as the JSON protocols write times."""
    milliseconds = (moment - EPOCH) // timedelta(milliseconds=1)
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


def iso_seconds(moment: datetime) -> str:
    """`2026-11-24T12:00:00Z`, as IAM and STS write times."""
    return f"{_utc(moment).isoformat(timespec='seconds')[:19]}Z"


def iso_milliseconds(moment: datetime) -> str:
    """`2026-11-24T12:00:00.000Z`, as EC2 writes times."""
    return f"{_utc(moment).isoformat(timespec='milliseconds')[:23]}Z"


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def base64_text(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


def float_text(value: float) -> str:
    """As XML and JSON strings write what JSON numbers cannot: NaN, Infinity, -Infinity."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


class UnknownMember(TypeError):
    """A strict writer was given what the model does not know. A fault of ours, never a caller's."""


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "boolean": (bool,),
    "blob": (bytes, str),
    "timestamp": (datetime,),
}


def demand(kind: str, name: str, value: Any) -> None:
    """UnknownMember unless `value` is of the scalar type."""
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise UnknownMember(f"`{name}` is a {kind}, not {value!r}")
