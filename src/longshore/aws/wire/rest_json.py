"""Rest-JSON (Batch): method and path name the operation; members travel in path, query string, headers and body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.aws.model import OperationModel, Reference, ServiceModel
from longshore.aws.wire import form
from longshore.aws.wire.http import HttpRequest, HttpResponse
from longshore.aws.wire.json import Parser, Readers, Serializer, Writers, decoded, error_members
from longshore.aws.wire.route import path_parameters
from longshore.aws.wire.scalars import TEXT_READERS, UnknownMember, Unreadable

_Placed = Callable[[HttpRequest, dict[str, Any]], None]  # puts what lies outside the body into the members
_encode = msgspec.json.Encoder().encode


def parser(operation: OperationModel) -> Parser:
    """Request -> members. ClientException (Batch has two errors only): no JSON, values of other types."""
    read = Readers(operation.service).of(operation.input) if operation.input else None
    placed = _outside_the_body(operation)

    def parse(request: HttpRequest) -> dict[str, Any]:
        if read is None:
            return {}
        try:
            members: dict[str, Any] = read(decoded(request.body)) if request.body else {}
            for place in placed:
                place(request, members)
        except Unreadable as fault:
            raise AwsError("ClientException", str(fault)) from None
        except ValueError:
            raise AwsError("ClientException", "The request's path or query string is not valid UTF-8") from None
        except RecursionError:
            raise AwsError("ClientException", "The request body is nested too deeply") from None
        return members

    return parse


def _outside_the_body(operation: OperationModel) -> list[_Placed]:
    shape = operation.input_shape
    if shape is None:
        return []
    placed: list[_Placed] = []
    for name, member in shape.members.items():
        wire_name = member.location_name or name
        if member.location == "uri":
            placed.append(_from_path(operation, name, wire_name, member))
        elif member.location == "querystring":
            placed.append(_from_query_string(operation.service, name, wire_name, member))
        elif member.location == "header":
            placed.append(_from_header(operation.service, name, wire_name.lower(), member))
    return placed


def _from_path(operation: OperationModel, name: str, wire_name: str, member: Reference) -> _Placed:
    read = TEXT_READERS[operation.service.shapes[member.shape].type]

    def place(request: HttpRequest, members: dict[str, Any]) -> None:
        value = path_parameters(operation, request.path).get(wire_name)
        if value is not None:
            members[name] = read(value)

    return place


def _from_query_string(service: ServiceModel, name: str, wire_name: str, member: Reference) -> _Placed:
    shape = service.shapes[member.shape]
    if shape.type == "list" and shape.member:
        read = TEXT_READERS[service.shapes[shape.member.shape].type]

        def place_all(request: HttpRequest, members: dict[str, Any]) -> None:
            values = [read(value) for key, value in form.pairs(request.query_string) if key == wire_name]
            if values:
                members[name] = values

        return place_all
    read_one = TEXT_READERS[shape.type]

    def place(request: HttpRequest, members: dict[str, Any]) -> None:
        for key, value in form.pairs(request.query_string):
            if key == wire_name:
                members[name] = read_one(value)

    return place


def _from_header(service: ServiceModel, name: str, wire_name: str, member: Reference) -> _Placed:
    read = TEXT_READERS[service.shapes[member.shape].type]

    def place(request: HttpRequest, members: dict[str, Any]) -> None:
        value = request.headers.get(wire_name)
        if value is not None:
            members[name] = read(value)

    return place


def serializer(operation: OperationModel, strict: bool) -> Serializer:
    write = Writers(operation.service, strict).of(operation.output, "response") if operation.output else None

    def serialize(response: dict[str, Any], request_id: str) -> HttpResponse:
        if strict and write is None and response:
            raise UnknownMember(f"{operation!r} answers nothing, not {response!r}")
        body = _encode(write(response)) if write else b"{}"
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", "application/json")]
        return HttpResponse(operation.http_status, headers, body)

    return serialize


def error(
    service: ServiceModel, code: str, message: str, status: int, fields: dict[str, Any], request_id: str
) -> HttpResponse:
    """The code in the header x-amzn-ErrorType, `{"message": ...}` in the body."""
    headers = [
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", code),
        ("Content-Type", "application/json"),
    ]
    return HttpResponse(status, headers, _encode(error_members(service, code, message, fields)))
