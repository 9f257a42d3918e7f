"""Which service and operation a request is for: by its scope, or by its look when it bears none."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from aws.oracle import SERVICES, Values, botocore_model, operation_names, sent_by_botocore
from aws.test_round_trips import fill_the_path
from longshore.aws.wire.http import HttpRequest
from longshore.aws.wire.route import Unroutable, route, scope_of

SCOPE = "AWS4-HMAC-SHA256 Credential=AKID/20260101/{}/{}/aws4_request, SignedHeaders=host, Signature=0"


def scoped(request: HttpRequest, service: str, region: str = "us-east-1") -> HttpRequest:
    headers = {**request.headers, "authorization": SCOPE.format(region, service)}
    return HttpRequest(request.method, request.path, request.query_string, headers, request.body)


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_is_found_with_a_scope_and_without(service: str) -> None:
    for name in operation_names(service):
        theirs = botocore_model(service).operation_model(name)
        value = Values(name, full=False, nodes=5).of(theirs.input_shape) if theirs.input_shape else {}
        fill_the_path(theirs, value)
        request = sent_by_botocore(theirs, value)
        for given, region in ((request, None), (scoped(request, service, "eu-west-1"), "eu-west-1")):
            found = route(given)
            assert (found.service, found.operation.name, found.region) == (service, name, region)


def test_the_scope_is_read_from_header_and_query() -> None:
    assert scope_of(scoped(HttpRequest("POST", "/"), "ecs", "eu-west-1")) == ("eu-west-1", "ecs")
    credential = quote("AKID/20260101/eu-west-1/sts/aws4_request", safe="")
    assert scope_of(HttpRequest("GET", "/", f"a=1&X-Amz-Credential={credential}&b=2")) == ("eu-west-1", "sts")
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "AWS4-HMAC-SHA256 Credential=AKID/x/y"}):
        assert scope_of(HttpRequest("POST", "/", "", headers)) is None


@pytest.mark.parametrize(
    ("request_", "service", "code", "status"),
    [
        (HttpRequest("POST", "/", body=b"Action=Nothing&Version=2010-05-08"), "iam", "InvalidAction", 400),
        (HttpRequest("POST", "/", body=b"Action=Nothing&Version=2016-11-15"), "ec2", "InvalidAction", 400),
        (HttpRequest("POST", "/", body=b"Action=Nothing&Version=1999-01-01"), "sts", "InvalidAction", 400),
        (
            HttpRequest("POST", "/", headers={"x-amz-target": "Logs_20140328.Nothing"}),
            "logs",
            "UnknownOperationException",
            400,
        ),
        (HttpRequest("POST", "/", headers={"x-amz-target": "Nobody.Nothing"}), None, "UnknownOperationException", 404),
        (HttpRequest("PUT", "/v1/describejobs"), "batch", "UnknownOperationException", 404),
        (HttpRequest("GET", "/"), None, "UnknownOperationException", 404),
        (HttpRequest("GET", "/nowhere"), None, "UnknownOperationException", 404),
        (scoped(HttpRequest("POST", "/"), "s3"), None, "UnknownOperationException", 404),
        (scoped(HttpRequest("POST", "/"), "iam"), "iam", "MissingAction", 400),
        (scoped(HttpRequest("POST", "/v1/nothing"), "batch"), "batch", "UnknownOperationException", 404),
    ],
)
def test_what_leads_nowhere_is_refused_in_the_protocol_that_it_looks_like(
    request_: HttpRequest, service: str | None, code: str, status: int
) -> None:
    with pytest.raises(Unroutable) as caught:
        route(request_)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert (caught.value.service.name if caught.value.service else None) == service


def test_the_arn_in_a_path_may_be_encoded_or_not() -> None:
    arn = "arn:aws:batch:us-east-1:123456789012:job-queue/a b"
    for path in (quote(arn, safe=""), quote(arn, safe=":"), quote(arn, safe="/:")):
        found = None
        try:
            found = route(HttpRequest("GET", f"/v1/tags/{path}"))
        except Unroutable:
            assert "/" in path  # A slash as it is begins another segment.
        if found is not None:
            assert found.operation.name == "ListTagsForResource" and found.path_parameters == {"resourceArn": arn}
