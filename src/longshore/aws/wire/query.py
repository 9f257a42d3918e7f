"""The query protocol (IAM, STS) and EC2's dialect of it: forms in, XML out.

A form is flat: `Filter.1.Value.2=x`. Its names are split at the dots into a tree, and the tree is read by shape.
Source: Smithy, "AWS query protocol" and "AWS EC2 query protocol".
"""

from __future__ import annotations

from typing import Any

from longshore.aws.errors import AwsError
from longshore.aws.model import OperationModel, Reference, ServiceModel
from longshore.aws.wire.form import UnreadableForm, parameters
from longshore.aws.wire.http import HttpRequest, HttpResponse
from longshore.aws.wire.json import Parser, Serializer
from longshore.aws.wire.scalars import TEXT_READERS, Read, UnknownMember, Unreadable
from longshore.aws.wire.xml import Writers, escape

_CONTENT_TYPE = "text/xml;charset=UTF-8"
_DEPTH_MAX = 64  # points in a name; no shape goes half as deep


# -- reading


def parser(operation: OperationModel) -> Parser:
    """Form -> members. MalformedQueryString: no form; MalformedInput (EC2: InvalidParameterValue): a wrong type."""
    read = Readers(operation.service).of(operation.input) if operation.input else None
    code = "InvalidParameterValue" if operation.service.protocol == "ec2" else "MalformedInput"

    def parse(request: HttpRequest) -> dict[str, Any]:
        if read is None:
            return {}
        try:
            result: dict[str, Any] = read(tree(parameters(request)))
        except UnreadableForm as fault:
            raise AwsError("MalformedQueryString", str(fault)) from None
        except Unreadable as fault:
            raise AwsError(code, str(fault)) from None
        except RecursionError:
            raise AwsError("MalformedQueryString", "The parameters are nested too deeply") from None
        return result

    return parse


def tree(flat: dict[str, str]) -> dict[str, Any]:
    """`{"A.1.B": "x"}` -> `{"A": {"1": {"B": "x"}}}`. Unreadable: a name is both a value and a branch."""
    root: dict[str, Any] = {}
    for name, value in flat.items():
        if "." not in name:
            if type(root.setdefault(name, value)) is dict:
                raise Unreadable(f"Parameter {name[:64]} has a value and members at once")
            continue
        *branches, leaf = name.split(".")
        if len(branches) > _DEPTH_MAX:
            raise UnreadableForm("The parameters are nested too deeply")
        node = root
        for branch in branches:
            below = node.setdefault(branch, {})
            if type(below) is not dict:
                if below:
                    raise Unreadable(f"Parameter {name[:64]} has a value and members at once")
                below = node[branch] = {}  # `Tags=` says an empty list; elements beside it win.
            node = below
        if type(node.setdefault(leaf, value)) is dict:
            raise Unreadable(f"Parameter {name[:64]} has a value and members at once")
    return root


class Readers:
    """Of branches of the tree, by shape."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._ec2 = service.protocol == "ec2"
        self._known: dict[str, Read] = {}

    def of(self, reference: Reference) -> Read:
        known = self._known.get(reference.shape)
        return known or self._build(reference)

    def _build(self, reference: Reference) -> Read:
        shape = self._service.shapes[reference.shape]
        if shape.type == "structure":
            members: dict[str, tuple[str, Read]] = {}
            read = self._known[reference.shape] = _structure_reader(members)
            for name, member in shape.members.items():
                entry = name, self.of(member)
                for wire_name in self._wire_names(name, member):
                    members[wire_name] = entry
            return read
        flattened = self._ec2 or reference.flattened or shape.flattened
        if shape.type == "list" and shape.member:
            between = None if flattened else shape.member.location_name or "member"
            return _list_reader(between, self.of(shape.member))
        if shape.type == "map" and shape.key and shape.value:
            between = None if flattened else "entry"
            key, value = shape.key.location_name or "key", shape.value.location_name or "value"
            is_scalar = self._service.shapes[shape.value.shape].type in TEXT_READERS
            return _map_reader(between, key, value, self.of(shape.value), is_scalar)
        return _scalar_reader(TEXT_READERS[shape.type])

    def _wire_names(self, name: str, member: Reference) -> list[str]:
        shape = self._service.shapes[member.shape]
        if not self._ec2:
            own = member.location_name or shape.location_name or name
            if (member.flattened or shape.flattened) and shape.member and shape.member.location_name:
                return [shape.member.location_name, own]  # An empty one comes under its own name.
            return [own]
        if member.query_name:
            return [member.query_name]
        wire_name = member.location_name or shape.location_name or name
        capital = wire_name[:1].upper() + wire_name[1:]
        return [capital] if capital == name else [capital, name]


def wire_name(service: ServiceModel, name: str, member: Reference) -> str:
    """How a member is called in a form: `InstanceId` of EC2's `InstanceIds`."""
    return Readers(service)._wire_names(name, member)[0]


def _structure_reader(members: dict[str, tuple[str, Read]]) -> Read:
    def read(node: Any) -> dict[str, Any]:
        if type(node) is not dict:
            if node:
                raise Unreadable("A value was found where members were expected")
            return {}
        result = {}
        for name, below in node.items():
            member = members.get(name)
            if member is not None:
                result[member[0]] = member[1](below)
        return result

    return read


def _list_reader(between: str | None, read_element: Read) -> Read:
    def read(node: Any) -> list[Any]:
        if type(node) is not dict:
            if node:
                raise Unreadable("A value was found where a list was expected")
            return []
        if between is not None:
            node = _inner(node, between)
            if not node:
                return []
        return [read_element(node[index]) for index in _in_order(node)]

    return read


def _map_reader(between: str | None, key_name: str, value_name: str, read_value: Read, is_scalar: bool) -> Read:
    def read(node: Any) -> dict[str, Any]:
        if type(node) is not dict:
            if node:
                raise Unreadable("A value was found where a map was expected")
            return {}
        if between is not None:
            node = _inner(node, between)
        result = {}
        for index in _in_order(node):
            entry = node[index]
            key = entry.get(key_name) if type(entry) is dict else None
            if type(key) is not str or (is_scalar and value_name not in entry):
                raise Unreadable("An entry of a map lacks its key or its value")
            result[key] = read_value(entry.get(value_name, {}))  # An empty structure is not sent at all.
        return result

    return read


def _inner(node: dict[str, Any], name: str) -> dict[str, Any]:
    inner = node.get(name, {})
    if type(inner) is not dict:
        raise Unreadable("A value was found where a list was expected")
    return inner


def _in_order(node: dict[str, Any]) -> list[str]:
    """The indices, smallest number first. Gaps are passed over, as AWS does."""
    if len(node) == 1:
        index = next(iter(node))
        if _is_index(index):
            return [index]
    for index in node:
        if not _is_index(index):
            raise Unreadable(f"'{index[:64]}' is not an index of a list")
    return sorted(node, key=int)


def _is_index(text: str) -> bool:
    return len(text) <= 9 and text.isascii() and text.isdigit()


def _scalar_reader(read_text: Read) -> Read:
    def read(node: Any) -> Any:
        if type(node) is not str:
            raise Unreadable("Members were found where a value was expected")
        return read_text(node)

    return read


# -- writing


def serializer(operation: OperationModel, strict: bool) -> Serializer:
    """`<GetRoleResponse><GetRoleResult>...` with the request id below ResponseMetadata; EC2's stands first, bare."""
    service = operation.service
    write = Writers(service, strict).of(operation.output, "response") if operation.output else None
    ec2 = service.protocol == "ec2"
    if ec2:
        start = f'<?xml version="1.0" encoding="UTF-8"?>\n<{operation.name}Response xmlns="{service.xml_namespace}/">'
        nothing = "<return>true</return>"
        result_start = result_end = ""
    else:
        start = f'<{operation.name}Response xmlns="{service.xml_namespace}">'
        nothing = ""
        wrapper = operation.result_wrapper
        result_start, result_end = (f"<{wrapper}>", f"</{wrapper}>") if wrapper else ("", "")
    end = f"</{operation.name}Response>"

    def serialize(response: dict[str, Any], request_id: str) -> HttpResponse:
        if strict and write is None and response:
            raise UnknownMember(f"{operation!r} answers nothing, not {response!r}")
        content = write(response) if write else nothing
        if ec2:
            body = f"{start}<requestId>{request_id}</requestId>{content}{end}"
        else:
            body = (
                f"{start}{result_start}{content}{result_end}"
                f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>{end}"
            )
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", _CONTENT_TYPE)]
        return HttpResponse(200, headers, body.encode())

    return serialize


# -- errors


def error(service: ServiceModel, code: str, message: str, status: int, request_id: str) -> HttpResponse:
    """`Type` tells who is to blame: Sender, or Receiver from status 500 on. EC2's form has none."""
    if service.protocol == "ec2":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    else:
        blamed = "Receiver" if status >= 500 else "Sender"
        body = (
            f'<ErrorResponse xmlns="{service.xml_namespace}"><Error><Type>{blamed}</Type><Code>{escape(code)}</Code>'
            f"<Message>{escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return HttpResponse(status, [("x-amzn-RequestId", request_id), ("Content-Type", _CONTENT_TYPE)], body.encode())
