"""The door of the wire: bytes to members, members to bytes, errors to bytes, for any operation of any protocol.

What is needed per operation is compiled at its first use and kept.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.aws.model import OperationModel, ServiceModel
from longshore.aws.wire import json, query, rest_json
from longshore.aws.wire.http import HttpRequest, HttpResponse


def parse(operation: OperationModel, request: HttpRequest) -> dict[str, Any]:
    """The request's members by the model's names; timestamps are aware datetimes, blobs bytes.

    Unknown members are ignored. Only types are looked at here, the rest is `shapes.check`'s.
    AwsError: SerializationException, MalformedInput, MalformedQueryString, ClientException (Batch).
    """
    return _parser(operation)(request)


def serialize(
    operation: OperationModel, response: dict[str, Any], request_id: str, *, strict: bool = False
) -> HttpResponse:
    """The answer's bytes. Members that are None are dropped.

    `strict` (for tests): scalars.UnknownMember for members that the model does not know, or values of other types.
    """
    return _serializer(operation, strict)(response, request_id)


def serialize_error(
    service: ServiceModel | None, operation: OperationModel | None, error: AwsError, request_id: str
) -> HttpResponse:
    """The error in the service's own form. `service` None: the request named none, and JSON is as good as any.

    Errors of the house (AccessDenied, InvalidClientTokenId ...) are put in the service's dialect: `in_dialect`.
    """
    if service is None:
        body = msgspec.json.encode({"__type": error.code, "message": error.message})
        headers = [
            ("x-amzn-RequestId", request_id),
            ("x-amzn-ErrorType", error.code),
            ("Content-Type", "application/json"),
        ]
        return HttpResponse(error.status or 400, headers, body)
    error = in_dialect(service, error)
    known = service.errors.get(error.code)
    code = known[0] if known else error.code
    status = error.status or _status(service, code)
    if service.protocol == "json":
        return json.error(service, code, error.message, status, error.fields, request_id)
    if service.protocol == "rest-json":
        return rest_json.error(service, code, error.message, status, error.fields, request_id)
    return query.error(service, code, error.message, status, request_id)


@cache
def _parser(operation: OperationModel) -> json.Parser:
    if operation.service.is_xml:
        return query.parser(operation)
    return rest_json.parser(operation) if operation.service.protocol == "rest-json" else json.parser(operation)


@cache
def _serializer(operation: OperationModel, strict: bool) -> json.Serializer:
    if operation.service.is_xml:
        return query.serializer(operation, strict)
    if operation.service.protocol == "rest-json":
        return rest_json.serializer(operation, strict)
    return json.serializer(operation, strict)


# Errors that every service shares, as IAM and STS call them -> as the JSON services call them.
# Source: each service's "Common Errors"; the JSON services answer all of them with 400, Batch a refusal with 403.
_JSON_NAMES = {
    "AccessDenied": "AccessDeniedException",
    "ExpiredToken": "ExpiredTokenException",
    "IncompleteSignature": "IncompleteSignatureException",
    "InternalFailure": "InternalFailure",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "Throttling": "ThrottlingException",
}
# EC2 API reference, "Error codes": AuthFailure and UnauthorizedOperation, with texts of their own.
_EC2_NAMES = {
    "AccessDenied": "UnauthorizedOperation",
    "ExpiredToken": "RequestExpired",
    "IncompleteSignature": "AuthFailure",
    "InternalFailure": "InternalError",
    "InvalidClientTokenId": "AuthFailure",
    "MissingAuthenticationToken": "AuthFailure",
    "SignatureDoesNotMatch": "AuthFailure",
    "Throttling": "RequestLimitExceeded",
}
_EC2_TEXTS = {
    "InvalidClientTokenId": "AWS was not able to validate the provided access credentials",
    "SignatureDoesNotMatch": "AWS was not able to validate the provided access credentials",
    "ExpiredToken": "Request has expired.",
}
_STATUSES = {
    "AccessDenied": 403,
    "AuthFailure": 401,
    "ExpiredToken": 403,
    "InternalError": 500,
    "InternalFailure": 500,
    "InsufficientInstanceCapacity": 500,
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
    "OptInRequired": 403,
    "RequestExpired": 400,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "UnauthorizedOperation": 403,
    "Unavailable": 503,
}
_BATCH_STATUSES = {
    "AccessDeniedException": 403,
    "TooManyRequestsException": 429,
}


def in_dialect(service: ServiceModel, error: AwsError) -> AwsError:
    """An error that is common to all services, as this service calls it; any other as it is."""
    if service.protocol == "query" or (error.code not in _JSON_NAMES and error.code not in _EC2_NAMES):
        return error
    if error.code in service.errors:
        return error
    if service.protocol == "ec2":
        text = _EC2_TEXTS.get(error.code, error.message)
        if error.code == "AccessDenied" and error.message.startswith("User: "):
            text = f"You are not authorized to perform this operation. {text}"
        return AwsError(_EC2_NAMES[error.code], text, fields=error.fields)
    status = 500 if error.code == "InternalFailure" else None
    return AwsError(_JSON_NAMES[error.code], error.message, status=status, fields=error.fields)


def _status(service: ServiceModel, code: str) -> int:
    known = service.errors.get(code)
    if known is not None:
        shape = known[1]
        if shape.error and shape.error.http_status_code:
            return shape.error.http_status_code
        if shape.fault:
            return 500
    if service.protocol == "rest-json":
        return _BATCH_STATUSES.get(code, 400)
    return _STATUSES.get(code, 400)
