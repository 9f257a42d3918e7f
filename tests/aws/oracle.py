"""botocore as the oracle of the wire: its serializers write what we must read, its parsers read what we have written.

Values are generated from botocore's own model of a shape, from a seed.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.model import OperationModel, Shape
from botocore.model import ServiceModel as BotocoreModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from longshore.aws.wire.http import HttpRequest, HttpResponse

ENDPOINT = "http://127.0.0.1:4570"
SERVICES = ("iam", "sts", "ecs", "batch", "logs", "cloudtrail", "ec2")


@cache
def botocore_model(service: str) -> BotocoreModel:
    return botocore.session.get_session().get_service_model(service)


def operation_names(service: str) -> list[str]:
    """All of them but CloudWatch Logs' two that answer with a stream of events, which Longshore does not offer."""
    known = botocore_model(service)
    return [name for name in known.operation_names if not known.operation_model(name).has_event_stream_output]


# Values ----------------------------------------------------------------------------------------------------------------

_LETTERS = "abcXYZ019 _-./:=+,@%&?#~'\"<>[]{}*$\\|;!é東ß\N{ROCKET}\u200d\xa0"
_TEXTS = (
    "",
    " ",
    "a b",
    "100% &=+?",
    "é東京\N{ROCKET}",
    "<tag attr=\"'&amp;'\">]]>",
    "two\nlines\tand a tab",
    "x" * 300,
    "arn:aws:iam::123456789012:role/a+b",
    '{"a": ["b"]}',
    "null",
    "true",
    "0",
    "a.1.b",
)
_DEPTH = 10  # Structures within structures; shapes that hold themselves end here.


class Values:
    """Values of shapes. `full`: with every member that there is, as far as `nodes` go; else with some of them."""

    def __init__(self, seed: str, *, full: bool, nodes: int = 400, milliseconds: bool = False) -> None:
        self._random = random.Random(seed)
        self._full = full
        self._left = nodes
        self._milliseconds = milliseconds  # botocore itself writes whole seconds into JSON
        self.seen: set[tuple[str, str]] = set()  # (shape, member)
        self.member = ""  # for which a value is being made

    def of(self, shape: Shape, depth: int = 0) -> Any:
        self._left -= 1
        match shape.type_name:
            case "structure":
                return self._structure(shape, depth)
            case "list":
                return [self.of(shape.member, depth + 1) for _ in range(self._count(depth))]
            case "map":
                return {self._key(shape.key): self.of(shape.value, depth + 1) for _ in range(self._count(depth))}
            case other:
                return getattr(self, f"_{other}")(shape)

    def _structure(self, shape: Shape, depth: int) -> Any:
        if getattr(shape, "is_document_type", False):
            return {"any": ["thing", 1, None, {"nested": True}]}
        if getattr(shape, "is_tagged_union", False):  # One member, always: a client refuses any other number.
            name = self._random.choice(list(shape.members))
            return {name: self.of(shape.members[name], depth + 1)}
        required = set(shape.required_members)
        value = {}
        names = list(shape.members)
        self._random.shuffle(names)  # Not always the last ones shall go without.
        for name in names:
            needed = name in required and depth < 2 * _DEPTH
            if needed or (depth < _DEPTH and self._left > 0 and (self._full or self._random.random() < 0.3)):
                self.seen.add((shape.name, name))
                self.member = name
                value[name] = self.of(shape.members[name], depth + 1)
        return value

    def _count(self, depth: int) -> int:
        if depth >= _DEPTH or self._left <= 0:
            return 0
        if self._full:
            return self._random.choice((1, 1, 1, 2))
        return self._random.choice((0, 1, 1, 2, 3, 11 if self._left > 100 else 1))

    def _key(self, shape: Shape) -> str:
        return self._string(shape) or "key"

    def _string(self, shape: Shape) -> str:
        if shape.enum and self._random.random() < 0.8:
            return self._random.choice(shape.enum)
        if self._random.random() < 0.6:
            return self._random.choice(_TEXTS)
        return "".join(self._random.choices(_LETTERS, k=self._random.randrange(20)))

    _character = _string

    def _integer(self, shape: Shape) -> int:
        return self._random.choice((0, 1, -1, 2**31 - 1, -(2**31), self._random.randrange(10_000)))

    def _long(self, shape: Shape) -> int:
        return self._random.choice((0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), self._random.randrange(10**13)))

    def _float(self, shape: Shape) -> float:
        return self._random.choice((0.0, 1.0, -2.5, 0.1, 1e-7, 1e22, self._random.random()))

    _double = _float

    def _boolean(self, shape: Shape) -> bool:
        return self._random.random() < 0.5

    def _blob(self, shape: Shape) -> bytes:
        return self._random.choice((b"", b"\x00\xff", b"text", self._random.randbytes(70)))

    def _timestamp(self, shape: Shape) -> datetime:
        start = datetime(1970, 1, 1, tzinfo=UTC)
        seconds = self._random.choice((0, 1, 2_000_000_000, self._random.randrange(2**31)))
        return start + timedelta(
            seconds=seconds, milliseconds=self._random.randrange(1000) if self._milliseconds else 0
        )


# The way there ---------------------------------------------------------------------------------------------------------


def sent_by_botocore(operation: OperationModel, parameters: dict[str, Any]) -> HttpRequest:
    """The request as botocore puts it on the wire, but for the signature."""
    service = operation.service_model
    serializer = create_serializer(service.metadata["protocol"], include_validation=False)
    request_dict = serializer.serialize_to_request(parameters, operation)
    prepare_request_dict(request_dict, ENDPOINT)
    prepared = create_request_object(request_dict).prepare()
    parts = urlsplit(prepared.url)
    body = prepared.body or b""
    return HttpRequest(
        method=prepared.method,
        path=parts.path or "/",
        query_string=parts.query,
        headers={
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in prepared.headers.items()
        },
        body=body.encode() if isinstance(body, str) else bytes(body),
    )


def as_received(protocol: str, shape: Shape | None, value: Any) -> Any:
    """What can arrive of `value`: a form has no way to say that a map or a structure is empty, EC2's none for lists."""
    if shape is None:
        return {}
    if protocol == "rest-json":  # An empty list puts nothing into the query string.
        placed = {name for name, each in shape.members.items() if each.serialization.get("location") == "querystring"}
        return {name: inner for name, inner in value.items() if not (name in placed and inner == [])}
    if protocol == "json":
        return value
    match shape.type_name:
        case "structure":
            found = {}
            for name, inner in value.items():
                member = shape.members[name]
                given = as_received(protocol, member, inner)
                nothing = given == {} or (given == [] and (protocol == "ec2" or inner != []))
                if not nothing:
                    found[name] = given
            return found
        case "list":
            # An element of which nothing is said does not arrive.
            elements = [as_received(protocol, shape.member, each) for each in value]
            return [each for each in elements if not (each == {} or (each == [] and protocol == "ec2"))]
        case "map":
            return {name: as_received(protocol, shape.value, each) for name, each in value.items()}
    return value


# The way back ----------------------------------------------------------------------------------------------------------


def read_by_botocore(operation: OperationModel, answer: HttpResponse) -> dict[str, Any]:
    """What a client gets of the answer, with its ResponseMetadata."""
    service = operation.service_model
    parser = create_parser(service.metadata["protocol"])
    response = {"status_code": answer.status, "headers": lowered(answer), "body": answer.body}
    parsed: dict[str, Any] = parser.parse(response, operation.output_shape)
    return parsed


def read_error_by_botocore(operation: OperationModel, answer: HttpResponse) -> dict[str, Any]:
    """As a client does: the common part, then the members of the error's own shape."""
    service = operation.service_model
    parser = create_parser(service.metadata["protocol"])
    response = {"status_code": answer.status, "headers": lowered(answer), "body": answer.body}
    parsed: dict[str, Any] = parser.parse(response, operation.output_shape)
    shape = service.shape_for_error_code(parsed.get("Error", {}).get("Code", ""))
    if shape is not None:
        parsed.update(parser.parse(response, shape))
    return parsed


def lowered(answer: HttpResponse) -> Any:
    from botocore.compat import HTTPHeaders

    headers = HTTPHeaders()
    for name, value in answer.headers:
        headers[name] = value
    return headers
