"""Errors in each protocol's own form, as botocore reads them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aws.oracle import SERVICES, Values, botocore_model, operation_names, read_error_by_botocore
from longshore.aws import model as models
from longshore.aws.errors import AwsError
from longshore.aws.wire import codec

TEXT = 'Role `a&b` <c> with "quotes", é東京 and a trailing line\nis not there.'


@pytest.mark.parametrize("service", SERVICES)
def test_every_error_of_the_model_arrives_with_code_text_status_and_members(service: str) -> None:
    ours, theirs = models.model(service), botocore_model(service)
    operation = theirs.operation_model(operation_names(service)[0])
    form = ours.operations[operation.name]
    count = 0
    for shape in theirs.error_shapes:
        code = shape.error_code
        values = Values(shape.name, full=True, milliseconds=True)
        fields = {
            name: values.of(member) for name, member in shape.members.items() if name not in ("message", "Message")
        }
        fields = {name: value for name, value in fields.items() if value not in ([], {})}
        answer = codec.serialize_error(ours, form, AwsError(shape.name, TEXT, fields=fields), "r-1")
        read = read_error_by_botocore(operation, answer)
        assert (read["Error"]["Code"], read["Error"]["Message"]) == (code, TEXT)
        assert read["ResponseMetadata"]["RequestId"] == "r-1"
        assert read["ResponseMetadata"]["HTTPStatusCode"] == answer.status == status_of(shape)
        if not ours.is_xml:  # The XML services' errors have a code and a text, whatever the model says.
            assert {name: read.get(name) for name in fields} == fields
        count += 1
    assert count > 0 or service == "ec2"  # EC2's model names no errors.


def status_of(shape: Any) -> int:
    stated = shape.metadata.get("error", {}).get("httpStatusCode")
    if stated:
        return int(stated)
    return 500 if shape._shape_model.get("fault") else 400


# What the gateway says on its own -> (code, status) of each kind of service.
COMMON: list[tuple[AwsError, dict[str, tuple[str, int]]]] = [
    (
        AwsError("AccessDenied", "User: u is not authorized", status=403),
        {
            "iam": ("AccessDenied", 403),
            "sts": ("AccessDenied", 403),
            "ec2": ("UnauthorizedOperation", 403),
            "ecs": ("AccessDeniedException", 400),
            "batch": ("AccessDeniedException", 403),
            "logs": ("AccessDeniedException", 400),
        },
    ),
    (
        AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", status=403),
        {
            "iam": ("MissingAuthenticationToken", 403),
            "ec2": ("AuthFailure", 401),
            "ecs": ("MissingAuthenticationTokenException", 400),
            "batch": ("MissingAuthenticationTokenException", 400),
        },
    ),
    (
        AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403),
        {
            "iam": ("InvalidClientTokenId", 403),
            "ec2": ("AuthFailure", 401),
            "logs": ("UnrecognizedClientException", 400),
            "batch": ("UnrecognizedClientException", 400),
        },
    ),
    (
        AwsError("ExpiredToken", "The security token included in the request is expired", status=403),
        {
            "sts": ("ExpiredToken", 403),
            "ec2": ("RequestExpired", 400),
            "ecs": ("ExpiredTokenException", 400),
            "batch": ("ExpiredTokenException", 400),
        },
    ),
    (
        AwsError("SignatureDoesNotMatch", "no", status=403),
        {
            "iam": ("SignatureDoesNotMatch", 403),
            "ec2": ("AuthFailure", 401),
            "ecs": ("InvalidSignatureException", 400),
            "batch": ("InvalidSignatureException", 400),
        },
    ),
    (
        AwsError("IncompleteSignature", "no", status=400),
        {
            "iam": ("IncompleteSignature", 400),
            "ecs": ("IncompleteSignatureException", 400),
            "batch": ("IncompleteSignatureException", 400),
        },
    ),
    (
        AwsError("InternalFailure", "no", status=500),
        {"iam": ("InternalFailure", 500), "ec2": ("InternalError", 500), "ecs": ("InternalFailure", 500)},
    ),
]


@pytest.mark.parametrize(
    ("error", "service", "expected"),
    [(error, service, expected) for error, rows in COMMON for service, expected in rows.items()],
    ids=lambda each: each.code if isinstance(each, AwsError) else None,
)
def test_what_all_services_share_is_said_in_each_ones_words(
    error: AwsError, service: str, expected: tuple[str, int]
) -> None:
    operation = botocore_model(service).operation_model(operation_names(service)[0])
    form = models.model(service).operations[operation.name]
    read = read_error_by_botocore(operation, codec.serialize_error(models.model(service), form, error, "r"))
    assert (read["Error"]["Code"], read["ResponseMetadata"]["HTTPStatusCode"]) == expected


def test_the_forms_are_those_of_the_recordings() -> None:
    gone = AwsError("NoSuchEntity", "The role with name X cannot be found.")
    iam = codec.serialize_error(models.model("iam"), None, gone, "r-1")
    assert (iam.status, iam.body.decode()) == (
        404,
        '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>'
        "<Code>NoSuchEntity</Code><Message>The role with name X cannot be found.</Message></Error>"
        "<RequestId>r-1</RequestId></ErrorResponse>",
    )
    ec2 = codec.serialize_error(models.model("ec2"), None, AwsError("InvalidInstanceID.NotFound", "no"), "r-2")
    assert ec2.status == 400
    assert ec2.body.decode().endswith(
        "<Response><Errors><Error><Code>InvalidInstanceID.NotFound</Code><Message>no</Message></Error></Errors>"
        "<RequestID>r-2</RequestID></Response>"
    )
    ecs = codec.serialize_error(models.model("ecs"), None, AwsError("ClusterNotFoundException", "no"), "r-3")
    assert ecs.status == 400 and dict(ecs.headers)["Content-Type"] == "application/x-amz-json-1.1"
    assert msgspec.json.decode(ecs.body) == {"__type": "ClusterNotFoundException", "message": "no"}
    batch = codec.serialize_error(models.model("batch"), None, AwsError("ClientException", "no"), "r-4")
    assert batch.status == 400 and dict(batch.headers)["x-amzn-ErrorType"] == "ClientException"
    assert msgspec.json.decode(batch.body) == {"message": "no"}
    nowhere = codec.serialize_error(None, None, AwsError("UnknownOperationException", "no", status=404), "r-5")
    assert nowhere.status == 404 and msgspec.json.decode(nowhere.body)["__type"] == "UnknownOperationException"
