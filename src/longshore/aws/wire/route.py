"""Which service and which operation a request is for. All services and regions stand behind one endpoint.

In this order: the service named in the scope of the signature; without one (an unsigned request, which must still be
refused in the right protocol) the target header, the version beside the action, or the path.
"""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import unquote

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.aws.model import SERVICES, OperationModel, ServiceModel, model
from longshore.aws.wire.form import UnreadableForm, parameters
from longshore.aws.wire.http import HttpRequest

_CREDENTIAL = re.compile(r"Credential=([^,\s&]+)")
_TARGETED = ("ecs", "logs", "cloudtrail", "ssm")  # the JSON services, told apart by their target's prefix
_REST = ("batch",)  # told apart by their paths
_ACTIONS = ("iam", "sts", "ec2")  # the query services, told apart by the version


class Route(Struct, frozen=True):
    """`region` None: the request bears no scope. `path_parameters`: name -> decoded value (`resourceArn`)."""

    service: str
    operation: OperationModel
    region: str | None = None
    path_parameters: dict[str, str] = {}


class Unroutable(AwsError):
    """There is no such service or operation. `service` None: not even a protocol can be told."""

    def __init__(self, service: ServiceModel | None, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(code, message, status=status)
        self.service = service


def route(request: HttpRequest) -> Route:
    """Where the request goes.

    Unroutable (an AwsError, with the service whose protocol answers): InvalidAction of the query services,
    UnknownOperationException of the others.
    """
    scope = scope_of(request)
    if scope is not None:
        region, name = scope
        if name not in SERVICES:
            raise Unroutable(None, "UnknownOperationException", f"There is no service `{name}` here", status=404)
        service: ServiceModel | None = model(name)
    else:
        region, service = None, _service_without_scope(request)
    if service is None:
        raise Unroutable(None, "UnknownOperationException", "The request names no known operation", status=404)
    if service.protocol == "rest-json":
        operation, in_path = _by_path(service, request)
        return Route(service.name, operation, region, in_path)
    if service.protocol == "json":
        return Route(service.name, _by_target(service, request), region)
    return Route(service.name, _by_action(service, request), region)


def scope_of(request: HttpRequest) -> tuple[str, str] | None:
    """(region, service) of the signature's scope, in the header or in a presigned URL; None: there is none."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        found = _CREDENTIAL.search(authorization)
        credential = found[1] if found else ""
    elif "X-Amz-Credential=" in request.query_string:
        credential = unquote(request.query_string.partition("X-Amz-Credential=")[2].partition("&")[0])
    else:
        return None
    parts = credential.rsplit("/", 4)
    return (parts[2], parts[3]) if len(parts) == 5 else None


def _service_without_scope(request: HttpRequest) -> ServiceModel | None:
    target = request.headers.get("x-amz-target")
    if target is not None:
        prefix = target.rpartition(".")[0]
        return next((model(name) for name in _TARGETED if model(name).target_prefix == prefix), None)
    version = _parameter(request, "Version")
    if version is not None or _parameter(request, "Action") is not None:
        return next((model(name) for name in _ACTIONS if model(name).api_version == version), model("sts"))
    for name in _REST:
        exact, templates = _paths(model(name))
        path = request.path.rstrip("/")
        if any(known == path for _, known in exact) or any(pattern.fullmatch(path) for _, pattern, _, _ in templates):
            return model(name)
    return None


def _by_target(service: ServiceModel, request: HttpRequest) -> OperationModel:
    prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
    operation = service.operations.get(name)
    if operation is None or prefix != service.target_prefix:
        raise Unroutable(service, "UnknownOperationException", "The requested operation is not recognized")
    return operation


def _by_action(service: ServiceModel, request: HttpRequest) -> OperationModel:
    action = _parameter(request, "Action")
    if action is None:
        raise Unroutable(service, "MissingAction", "The request must contain an action or operation parameter")
    operation = service.operations.get(action)
    if operation is not None:
        return operation
    version = _parameter(request, "Version") or service.api_version
    if service.protocol == "ec2":
        raise Unroutable(service, "InvalidAction", f"The action {action} is not valid for this web service.")
    raise Unroutable(service, "InvalidAction", f"Could not find operation {action} for version {version}")


def _parameter(request: HttpRequest, name: str) -> str | None:
    body = request.body
    start = name.encode() + b"="
    if body.startswith(start) and not request.query_string:  # as every SDK sends it
        value = body[len(start) :].partition(b"&")[0]
        if value.isalnum():
            return value.decode("ascii")
    try:
        return parameters(request).get(name)
    except UnreadableForm:
        return None


def _by_path(service: ServiceModel, request: HttpRequest) -> tuple[OperationModel, dict[str, str]]:
    exact, templates = _paths(service)
    path = request.path
    operation = exact.get((request.method, path)) or exact.get((request.method, path.rstrip("/")))
    if operation is not None:
        return operation, {}
    for method, pattern, names, candidate in templates:
        if method == request.method and (found := pattern.fullmatch(path)):
            return candidate, {name: unquote(value) for name, value in zip(names, found.groups())}
    raise Unroutable(service, "UnknownOperationException", "The requested operation is not recognized", status=404)


_Templates = list[tuple[str, "re.Pattern[str]", list[str], OperationModel]]


@cache
def _paths(service: ServiceModel) -> tuple[dict[tuple[str, str], OperationModel], _Templates]:
    """Paths without parameters, and the others as patterns. A `{name+}` takes slashes too."""
    exact: dict[tuple[str, str], OperationModel] = {}
    templates: _Templates = []
    for operation in service.operations.values():
        uri = operation.http_uri.partition("?")[0]
        if "{" not in uri:
            exact[operation.http_method, uri] = operation
            continue
        names = [name.rstrip("+") for name in re.findall(r"{([^}]+)}", uri)]
        literal = re.split(r"({[^}]+})", uri)
        pattern = "".join(
            ("(.+)" if part.endswith("+}") else "([^/]+)") if part.startswith("{") else re.escape(part)
            for part in literal
        )
        templates.append((operation.http_method, re.compile(pattern), names, operation))
    return exact, templates


def path_parameters(operation: OperationModel, path: str) -> dict[str, str]:
    """What the path holds for the operation's `{name}` parts, decoded; ValueError: it is not UTF-8."""
    if "{" not in operation.http_uri:
        return {}
    for _, pattern, names, candidate in _paths(operation.service)[1]:
        if candidate is operation and (found := pattern.fullmatch(path)):
            return {name: unquote(value, errors="strict") for name, value in zip(names, found.groups())}
    return {}
