"""Service models: operations, shapes and errors as botocore's packaged JSON tells them. Each is read on first use.

Records are the model's own, decoded as they stand (documentation is skipped). A member is a `Reference` to a shape by
name, which keeps recursion harmless and loading cheap: EC2's 4,400 shapes are never linked, only looked up.

Source: Smithy's AWS protocol documents; the keys are those of botocore's `service-2.json`.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any, Literal

import botocore
import msgspec
from msgspec import Struct

Protocol = Literal["query", "ec2", "json", "rest-json"]
_PROTOCOLS: dict[str, Protocol] = {"query": "query", "ec2": "ec2", "json": "json", "rest-json": "rest-json"}

SERVICES = ("iam", "sts", "ec2", "ecs", "batch", "logs", "cloudtrail", "ssm")  # name of the model = name in the scope


class ErrorTrait(Struct, frozen=True, rename="camel"):
    code: str | None = None
    http_status_code: int | None = None
    sender_fault: bool | None = None


class Reference(Struct, frozen=True, rename="camel"):
    """A use of a shape; its traits go before the shape's own."""

    shape: str
    location: str | None = None  # uri, querystring, header, statusCode; None: the body
    location_name: str | None = None  # the name on the wire; None: the member's own name
    query_name: str | None = None  # EC2's name in requests
    flattened: bool = False
    xml_attribute: bool = False
    jsonvalue: bool = False
    timestamp_format: str | None = None
    idempotency_token: bool = False
    deprecated: bool = False
    result_wrapper: str | None = None  # of an operation's output only


class Shape(Struct, frozen=True, rename="camel", eq=False):
    type: str  # structure, list, map, string, integer, long, float, double, boolean, timestamp, blob
    members: dict[str, Reference] = {}
    required: tuple[str, ...] = ()
    member: Reference | None = None  # of a list
    key: Reference | None = None  # of a map
    value: Reference | None = None
    enum: tuple[str, ...] = ()
    min: int | float | None = None
    max: int | float | None = None
    pattern: str | None = None
    sensitive: bool = False
    flattened: bool = False
    location_name: str | None = None
    timestamp_format: str | None = None
    payload: str | None = None
    document: bool = False
    eventstream: bool = False
    union: bool = False
    exception: bool = False
    fault: bool = False
    error: ErrorTrait | None = None


class _Http(Struct, frozen=True, rename="camel"):
    method: str = "POST"
    request_uri: str = "/"
    response_code: int = 200


class _Operation(Struct, frozen=True, rename="camel"):
    name: str
    http: _Http = _Http()
    input: Reference | None = None
    output: Reference | None = None
    errors: tuple[Reference, ...] = ()
    authtype: str | None = None


class _Metadata(Struct, frozen=True, rename="camel"):
    api_version: str
    protocol: str
    json_version: str = "1.1"
    target_prefix: str | None = None
    xml_namespace: Any = None
    service_id: str = ""


class _File(Struct, frozen=True, rename="camel"):
    metadata: _Metadata
    operations: dict[str, _Operation]
    shapes: dict[str, Shape]


class OperationModel(Struct, frozen=True, eq=False):
    """One operation. Compared and hashed by identity: codecs and checks are kept per operation."""

    service: ServiceModel
    name: str  # "CreateJobQueue"
    http_method: str
    http_uri: str  # "/v1/tags/{resourceArn}"
    http_status: int
    input: Reference | None  # None: the operation takes nothing
    output: Reference | None  # None: the operation answers nothing
    result_wrapper: str | None  # "GetRoleResult" of the query protocol
    errors: tuple[str, ...]  # names of error shapes
    unsigned: bool = False  # may be called without credentials (AssumeRoleWithWebIdentity)

    def __repr__(self) -> str:
        return f"<{self.service.name}.{self.name}>"

    @property
    def input_shape(self) -> Shape | None:
        return self.service.shapes[self.input.shape] if self.input else None

    @property
    def output_shape(self) -> Shape | None:
        return self.service.shapes[self.output.shape] if self.output else None

    @property
    def idempotency_member(self) -> str | None:
        """The member that makes a repetition harmless (`clientToken`); None: there is none."""
        shape = self.input_shape
        if shape is None:
            return None
        return next((name for name, member in shape.members.items() if member.idempotency_token), None)


class ServiceModel(Struct, eq=False):
    """One service. `errors`: code and name of the shape, both, -> (code on the wire, shape)."""

    name: str
    protocol: Protocol
    json_version: str
    target_prefix: str | None  # None: not a JSON service
    api_version: str
    xml_namespace: str
    service_id: str
    shapes: dict[str, Shape]
    operations: dict[str, OperationModel]
    errors: dict[str, tuple[str, Shape]]

    def __repr__(self) -> str:
        return f"<service {self.name}>"

    @property
    def is_xml(self) -> bool:
        return self.protocol in ("query", "ec2")


@cache
def model(service: str) -> ServiceModel:
    """The newest model of `iam`, `sts`, `ec2`, `ecs`, `batch`, `logs`, `cloudtrail` or `ssm`.

    KeyError: Longshore has no such service.
    """
    if service not in SERVICES:
        raise KeyError(service)
    versions = sorted((Path(botocore.__file__).parent / "data" / service).iterdir())
    packed = versions[-1] / "service-2.json.gz"
    plain = versions[-1] / "service-2.json"  # older releases of botocore pack nothing
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes()
    return build(service, data)


def build(name: str, data: bytes) -> ServiceModel:
    """A service of the JSON text of a model."""
    file = msgspec.json.decode(data, type=_File)
    metadata = file.metadata
    protocol = _PROTOCOLS.get(metadata.protocol)
    if protocol is None:
        raise ValueError(f"model of `{name}` speaks `{metadata.protocol}`, which Longshore does not")
    namespace = metadata.xml_namespace
    service = ServiceModel(
        name=name,
        protocol=protocol,
        json_version=metadata.json_version,
        target_prefix=metadata.target_prefix,
        api_version=metadata.api_version,
        xml_namespace=namespace if isinstance(namespace, str) else "",
        service_id=metadata.service_id,
        shapes=file.shapes,
        operations={},
        errors=_errors(file.shapes),
    )
    for operation in file.operations.values():
        service.operations[operation.name] = OperationModel(
            service=service,
            name=operation.name,
            http_method=operation.http.method,
            http_uri=operation.http.request_uri,
            http_status=operation.http.response_code,
            input=operation.input,
            output=operation.output,
            result_wrapper=operation.output.result_wrapper if operation.output else None,
            errors=tuple(error.shape for error in operation.errors),
            unsigned=operation.authtype == "none",
        )
    return service


def _errors(shapes: dict[str, Shape]) -> dict[str, tuple[str, Shape]]:
    found: dict[str, tuple[str, Shape]] = {}
    for name, shape in shapes.items():
        if shape.exception or shape.error:
            code = (shape.error.code if shape.error else None) or name
            found.setdefault(name, (code, shape))
            found.setdefault(code, (code, shape))
    return found
