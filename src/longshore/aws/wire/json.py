"""JSON 1.0 and 1.1: bodies against shapes, both ways. Rest-JSON uses the same readers and writers for its bodies.

Readers and writers are closures, built once per shape; a structure is entered among the known before its members are
built, so that shapes may hold themselves.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.aws.model import OperationModel, Reference, ServiceModel
from longshore.aws.wire import scalars
from longshore.aws.wire.http import HttpRequest, HttpResponse
from longshore.aws.wire.scalars import Read, UnknownMember, Unreadable, demand

Parser = Callable[[HttpRequest], dict[str, Any]]
Serializer = Callable[[dict[str, Any], str], HttpResponse]
Write = Callable[[Any], Any]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


# -- reading


def parser(operation: OperationModel) -> Parser:
    """Body -> members. SerializationException: no JSON, or values of other types than the model's."""
    read = Readers(operation.service).of(operation.input) if operation.input else None

    def parse(request: HttpRequest) -> dict[str, Any]:
        if not request.body or read is None:
            return {}
        try:
            result: dict[str, Any] = read(decoded(request.body))
        except Unreadable as fault:
            raise AwsError("SerializationException", str(fault)) from None
        except RecursionError:
            raise AwsError("SerializationException", "The request body is nested too deeply") from None
        return result

    return parse


def decoded(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        raise Unreadable("The request body is not valid JSON") from None


class Readers:
    """Of JSON values, by shape. `null` in a structure or a map counts as absent, in a list it is refused."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._known: dict[str, Read] = {}

    def of(self, reference: Reference) -> Read:
        known = self._known.get(reference.shape)
        return known or self._build(reference)

    def _build(self, reference: Reference) -> Read:
        shape = self._service.shapes[reference.shape]
        if shape.document:
            return _anything
        if shape.type == "structure":
            members: dict[str, tuple[str, Read]] = {}
            read = self._known[reference.shape] = _structure_reader(members)
            for name, member in shape.members.items():
                if member.location is None:
                    members[member.location_name or name] = name, self.of(member)
            return read
        if shape.type == "list" and shape.member:
            return _list_reader(self.of(shape.member))
        if shape.type == "map" and shape.value:
            return _map_reader(self.of(shape.value))
        return _SCALARS[shape.type]


def _anything(value: Any) -> Any:
    return value


def _structure_reader(members: dict[str, tuple[str, Read]]) -> Read:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Unreadable(_mismatch(value, "structure"))
        result = {}
        for wire_name, item in value.items():
            member = members.get(wire_name)
            if member is not None and item is not None:
                result[member[0]] = member[1](item)
        return result

    return read


def _list_reader(read_element: Read) -> Read:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Unreadable(_mismatch(value, "list"))
        return [read_element(element) for element in value]

    return read


def _map_reader(read_value: Read) -> Read:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Unreadable(_mismatch(value, "map"))
        return {key: read_value(item) for key, item in value.items() if item is not None}

    return read


_TOKENS = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE", type(None): "NULL_VALUE"}


def _mismatch(value: Any, wanted: str) -> str:
    # Observed, not documented: the words of the JSON services' own parser.
    if wanted in ("structure", "map") or isinstance(value, dict):
        if isinstance(value, dict):
            return "Start of structure or map found where not expected."
        if isinstance(value, list):
            return "Start of list found where not expected"
        return "Unexpected token: expected a map or structure"
    if isinstance(value, list):
        return "Start of list found where not expected"
    if isinstance(value, bool):
        return f"{'TRUE' if value else 'FALSE'}_VALUE can not be converted to {wanted}"
    return f"{_TOKENS.get(type(value), 'VALUE')} can not be converted to {wanted}"


def _string(value: Any) -> str:
    if type(value) is not str:
        raise Unreadable(_mismatch(value, "a String"))
    return value


def _whole(value: Any, wanted: str) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise Unreadable(_mismatch(value, wanted))


def _integer(value: Any) -> int:
    return scalars.within("integer", _whole(value, "an Integer"))


def _long(value: Any) -> int:
    return scalars.within("long", _whole(value, "a Long"))


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Unreadable("The number is out of the range of a Double") from None
    if type(value) is str and value in ("NaN", "Infinity", "-Infinity"):
        return scalars.read_float(value)
    raise Unreadable(_mismatch(value, "a Double"))


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Unreadable(_mismatch(value, "a Boolean"))
    return value


def _blob(value: Any) -> bytes:
    if type(value) is not str:
        raise Unreadable(_mismatch(value, "a Blob"))
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Unreadable("A blob is not valid base64") from None


def _timestamp(value: Any) -> datetime:
    if type(value) is float or type(value) is int:
        return scalars.from_seconds(value)
    if type(value) is str:
        return scalars.read_timestamp(value)
    raise Unreadable(_mismatch(value, "a Timestamp"))


_SCALARS: dict[str, Read] = {
    "string": _string,
    "character": _string,
    "integer": _integer,
    "long": _long,
    "float": _float,
    "double": _float,
    "boolean": _boolean,
    "blob": _blob,
    "timestamp": _timestamp,
}


# -- writing


def serializer(operation: OperationModel, strict: bool) -> Serializer:
    write = Writers(operation.service, strict).of(operation.output, "response") if operation.output else None
    content_type = f"application/x-amz-json-{operation.service.json_version}"

    def serialize(response: dict[str, Any], request_id: str) -> HttpResponse:
        body = _encode(write(response)) if write else b""
        if strict and write is None and response:
            raise UnknownMember(f"{operation!r} answers nothing, not {response!r}")
        return HttpResponse(200, [("x-amzn-RequestId", request_id), ("Content-Type", content_type)], body)

    return serialize


class Writers:
    """Of JSON values, by shape. None is dropped; unknown members too, unless `strict`: then they are a fault.

    A `msgspec.Raw` in a structure's place is taken as its JSON text: stored documents go out without a second look.
    """

    def __init__(self, service: ServiceModel, strict: bool) -> None:
        self._service = service
        self._strict = strict
        self._known: dict[str, Write] = {}

    def of(self, reference: Reference, name: str) -> Write:
        known = self._known.get(reference.shape)
        return known or self._build(reference, name)

    def _build(self, reference: Reference, name: str) -> Write:
        shape = self._service.shapes[reference.shape]
        if shape.document:
            return _anything
        if shape.type == "structure":
            members: dict[str, tuple[str, Write]] = {}
            write = self._known[reference.shape] = _structure_writer(members, name, self._strict)
            for member_name, member in shape.members.items():
                if member.location is None and not self._service.shapes[member.shape].eventstream:
                    members[member_name] = member.location_name or member_name, self.of(member, member_name)
            return write
        if shape.type == "list" and shape.member:
            return _list_writer(self.of(shape.member, name))
        if shape.type == "map" and shape.value:
            return _map_writer(self.of(shape.value, name))
        scalar = _SCALAR_WRITERS.get(shape.type, _anything)
        return _strictly(scalar, shape.type, name) if self._strict else scalar


def _structure_writer(members: dict[str, tuple[str, Write]], name: str, strict: bool) -> Write:
    def write(value: Any) -> Any:
        if type(value) is msgspec.Raw:
            return value
        result = {}
        for member_name, item in value.items():
            if item is not None:
                member = members.get(member_name)
                if member is not None:
                    result[member[0]] = member[1](item)
                elif strict:
                    raise UnknownMember(f"`{name}` has no member `{member_name}`")
        return result

    return write


def _list_writer(write_element: Write) -> Write:
    if write_element is _anything:
        return list
    return lambda value: [write_element(element) for element in value]


def _map_writer(write_value: Write) -> Write:
    return lambda value: {key: write_value(item) for key, item in value.items() if item is not None}


def _strictly(scalar: Write, kind: str, name: str) -> Write:
    def write(value: Any) -> Any:
        demand(kind, name, value)
        return scalar(value)

    return write


def _float_value(value: float) -> float | str:
    return value if value - value == 0 else scalars.float_text(value)


_SCALAR_WRITERS: dict[str, Write] = {
    "blob": scalars.base64_text,
    "timestamp": scalars.seconds,
    "float": _float_value,
    "double": _float_value,
}


# -- errors


def error(
    service: ServiceModel, code: str, message: str, status: int, fields: dict[str, Any], request_id: str
) -> HttpResponse:
    """`__type` and `message`, with the further members of the error's shape."""
    body = {"__type": code, **error_members(service, code, message, fields)}
    headers = [
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", code),
        ("Content-Type", f"application/x-amz-json-{service.json_version}"),
    ]
    return HttpResponse(status, headers, _encode(body))


def error_members(service: ServiceModel, code: str, message: str, fields: dict[str, Any]) -> dict[str, Any]:
    known = service.errors.get(code)
    if known is None:
        return {"message": message}
    shape = known[1]
    message_name = "Message" if "Message" in shape.members and "message" not in shape.members else "message"
    written = Writers(service, False)
    return {message_name: message} | {
        name: written.of(shape.members[name], name)(value)
        for name, value in fields.items()
        if name in shape.members and value is not None
    }
