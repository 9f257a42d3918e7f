"""Whatever is sent: AWS's error in the protocol's own form, never an internal failure, never a thing made by half."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from gateway import requests
from gateway.requests import Furnished, error_of, kept, sent, signed, spoilt, strange_request
from in_process import InProcessHouse
from longshore.aws.wire import codec
from longshore.aws.wire.http import HttpRequest
from longshore.server.assemble import SERVICES

OFFERED = [
    (room.name, name)
    for room in SERVICES.values()
    for name in requests.botocore_model(room.name).operation_names
    if room.operation(name) is not None
]


@pytest.fixture(scope="module")
def furnished() -> Iterator[Furnished]:
    made = Furnished()
    yield made
    made.house.close()


@pytest.fixture
def shared(furnished: Furnished) -> InProcessHouse:
    return furnished.house


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of which the model does not know a member, or a value of another type, is a failure here."""
    monkeypatch.setattr(codec, "serialize", partial(codec.serialize, strict=True))


@pytest.mark.parametrize(("service", "operation"), OFFERED)
def test_no_request_breaks_the_house_or_leaves_a_half_made_thing(
    furnished: Furnished, service: str, operation: str
) -> None:
    check(furnished, service, operation, range(12))


@pytest.mark.long
@pytest.mark.parametrize(("service", "operation"), OFFERED)
def test_no_request_breaks_the_house_in_a_longer_run(furnished: Furnished, service: str, operation: str) -> None:
    check(furnished, service, operation, range(1000, 1400))


def check(furnished: Furnished, service: str, operation: str, seeds: range) -> None:
    """Half of the requests come from the root user, half from one whose policies are asked."""
    house = furnished.house
    before = kept(house)
    for number in seeds:
        seed = f"{operation}.{number}"
        chance = random.Random(seed)
        request = strange_request(service, operation, seed, furnished.sound)
        if number % 3 == 2:
            request = spoilt(request, chance)
        answer = sent(house, signed(house, request, service, key=chance.choice((requests.KEY, furnished.key))))
        if answer.status < 300:
            before = kept(house)
            continue
        code, message, status = error_of(service, answer, operation)
        assert status < 500, (seed, request, answer.body[:300])
        assert code and isinstance(message, str), (seed, answer)
        after = kept(house)
        assert after == before, (seed, request, answer.body)


# By hand -----------------------------------------------------------------------------------------------------------------

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def ask(house: InProcessHouse, service: str, **parts: Any) -> tuple[str, str, int]:
    made = HttpRequest(**{"method": "POST", "path": "/", **parts})
    answer = sent(house, signed(house, made, service))
    assert answer.status >= 300, answer
    return error_of(service, answer)


def form(house: InProcessHouse, service: str, body: bytes) -> tuple[str, str, int]:
    return ask(house, service, body=body, headers=FORM)


def target(house: InProcessHouse, service: str, name: str, body: bytes) -> tuple[str, str, int]:
    prefix = {"ecs": "AmazonEC2ContainerServiceV20141113", "logs": "Logs_20140328"}[service]
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{prefix}.{name}"}
    return ask(house, service, body=body, headers=headers)


def test_query_actions_that_are_none(shared: InProcessHouse) -> None:
    unknown = "Could not find operation GetThing for version 2010-05-08"
    assert form(shared, "iam", b"Action=GetThing&Version=2010-05-08") == ("InvalidAction", unknown, 400)
    assert form(shared, "sts", b"Action=GetThing&Version=2011-06-15")[0] == "InvalidAction"
    assert form(shared, "ec2", b"Action=GetThing&Version=2016-11-15") == (
        "InvalidAction", "The action GetThing is not valid for this web service.", 400,
    )  # fmt: skip
    for body in (b"", b"Version=2010-05-08", b"Action=&Version=2010-05-08"):
        code, _, status = form(shared, "iam", body)
        assert (code, status) in {("MissingAction", 400), ("InvalidAction", 400)}
    # Known to the model and not offered here.
    assert form(shared, "iam", b"Action=CreateVirtualMFADevice&Version=2010-05-08&VirtualMFADeviceName=x")[0] == (
        "InvalidAction"
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=GetRole&Version=2010-05-08", "ValidationError"),
        (b"Action=GetRole&Version=2010-05-08&RoleName=", "ValidationError"),
        (b"Action=GetRole&Version=2010-05-08&RoleName=%ff", "MalformedQueryString"),
        (b"Action=GetRole&Version=2010-05-08&RoleName=\xff", "MalformedQueryString"),
        (b"Action=GetRole&Version=2010-05-08&RoleName.member.1=x", "MalformedInput"),
        (b"Action=ListRoles&Version=2010-05-08&MaxItems=many", "MalformedInput"),
        (b"Action=ListRoles&Version=2010-05-08&MaxItems=0", "ValidationError"),
        (b"Action=ListRoles&Version=2010-05-08&MaxItems=99999999999999999999", "MalformedInput"),
        (b"Action=TagRole&Version=2010-05-08&RoleName=ops&Tags=x", "MalformedInput"),
        (b"Action=TagRole&Version=2010-05-08&RoleName=ops&Tags.member.x.Key=a", "MalformedInput"),
        (b"Action=TagRole&Version=2010-05-08&RoleName=ops&Tags.member.1=x", "MalformedInput"),
        (b"Action=TagRole&Version=2010-05-08&RoleName=ops&Tags.member.1.Key=a", "ValidationError"),
        (b"Action=TagRole&Version=2010-05-08&RoleName=ops&Tags.member.1=x&Tags.member.1.Key=a", "MalformedInput"),
        (b"Action=TagRole&Version=2010-05-08&RoleName=ops&" + b"a." * 100_000 + b"=1", "MalformedQueryString"),
    ],
    ids=range(14),
)
def test_forms_that_are_malformed(shared: InProcessHouse, body: bytes, code: str) -> None:
    before = kept(shared)
    assert form(shared, "iam", body)[::2] == (code, 404 if code == "NoSuchEntity" else 400)
    assert kept(shared) == before


def test_forms_that_are_odd_but_clear(shared: InProcessHouse) -> None:
    for body, query in (
        (b"Action=GetRole&Version=2010-05-08&RoleName=ops", ""),
        (b"Version=2010-05-08&RoleName=ops&Action=GetRole", ""),
        (b"Action=GetRole&Version=2010-05-08&RoleName=%6f%70s&Unknown=1&&=", ""),
        (b"Action=GetRole&Version=2010-05-08", "RoleName=ops"),
        (b"", "Action=GetRole&Version=2010-05-08&RoleName=ops"),
    ):
        for method in ("POST", "GET"):
            made = HttpRequest(method, "/", query, FORM, body)
            assert sent(shared, signed(shared, made, "iam")).status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=RunInstances&Version=2016-11-15", "MissingParameter"),
        (b"Action=RunInstances&Version=2016-11-15&MinCount=x&MaxCount=1", "InvalidParameterValue"),
        (b"Action=RunInstances&Version=2016-11-15&MinCount=1.5&MaxCount=1", "InvalidParameterValue"),
        (b"Action=DescribeInstances&Version=2016-11-15&InstanceId=x", "InvalidParameterValue"),
        (b"Action=DescribeInstances&Version=2016-11-15&InstanceId.1=x", "InvalidInstanceID.Malformed"),
        (b"Action=DescribeInstances&Version=2016-11-15&MaxResults=%31%30%30%ff", "MalformedQueryString"),
    ],
)
def test_ec2_forms_that_are_malformed(shared: InProcessHouse, body: bytes, code: str) -> None:
    assert form(shared, "ec2", body)[::2] == (code, 400)


NOT_JSON = [b"{", b"[]", b"null", b'"x"', b"1", b"\xff", b'{"cluster": }', b"{}{}", b"\xef\xbb\xbf{}", b"'{}'"]


@pytest.mark.parametrize("body", [*NOT_JSON, b"[" * 100_000, b'{"a":' * 100_000], ids=range(12))
def test_bodies_that_are_no_json_objects(shared: InProcessHouse, body: bytes) -> None:
    for service, name in (("ecs", "ListTasks"), ("logs", "DescribeLogGroups")):
        assert target(shared, service, name, body)[::2] == ("SerializationException", 400)
    code, _, status = ask(shared, "batch", path="/v1/submitjob", body=body)
    assert (code, status) == ("ClientException", 400)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"cluster": 1}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"cluster": true}', "TRUE_VALUE can not be converted to a String"),
        (b'{"cluster": ["a"]}', "Start of list found where not expected"),
        (b'{"cluster": {"a": 1}}', "Start of structure or map found where not expected."),
        (b'{"maxResults": "1"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"maxResults": 1.5}', "DECIMAL_VALUE can not be converted to an Integer"),
        (b'{"maxResults": 99999999999}', None),
        (b'{"maxResults": 1e400}', None),
    ],
)
def test_values_of_other_types(shared: InProcessHouse, body: bytes, message: str | None) -> None:
    code, text, status = target(shared, "ecs", "ListTasks", body)
    assert (code, status) == ("SerializationException", 400)
    assert message is None or text == message


def test_json_targets_that_are_none(shared: InProcessHouse) -> None:
    for service in ("ecs", "logs"):
        for headers in ({}, {"x-amz-target": ""}, {"x-amz-target": "ListTasks"}, {"x-amz-target": "Other.ListTasks"}):
            code, _, status = ask(shared, service, body=b"{}", headers=headers)
            assert (code, status) == ("UnknownOperationException", 400)
        assert target(shared, service, "ListThings", b"{}")[0] == "UnknownOperationException"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/submitjob"),
        ("POST", "/v1/submitjobs"),
        ("POST", "/v2/submitjob"),
        ("POST", "/"),
        ("POST", "//"),
        ("DELETE", "/v1/describejobs"),
        ("PATCH", "/v1/tags/x"),
        ("GET", "/v1/tags/"),
        ("GET", "/v1/tags/a/b"),
        ("POST", "/v1/%73ubmitjob%2f"),
        ("OPTIONS", "*"),
    ],
)
def test_batch_paths_and_methods_that_are_none(shared: InProcessHouse, method: str, path: str) -> None:
    answer = sent(shared, signed(shared, HttpRequest(method, path, body=b"{}"), "batch"))
    code, _, status = error_of("batch", answer)
    assert code in ("UnknownOperationException", "InvalidSignatureException") and status in (404, 400)


def test_members_that_are_missing_are_named(shared: InProcessHouse) -> None:
    null = "1 validation error detected: Value null at 'roleName' failed to satisfy constraint: Member must not be null"
    assert form(shared, "iam", b"Action=GetRole&Version=2010-05-08") == ("ValidationError", null, 400)
    assert form(shared, "ec2", b"Action=RunInstances&Version=2016-11-15&MinCount=1") == (
        "MissingParameter", "The request must contain the parameter MaxCount", 400,
    )  # fmt: skip
    code, text, status = target(shared, "logs", "CreateLogGroup", b"{}")
    assert (code, status) == ("InvalidParameterException", 400) and "'logGroupName'" in text
    code, text, status = ask(shared, "batch", path="/v1/submitjob", body=b"{}")
    assert (code, status) == ("ClientException", 400)


def test_a_service_that_is_not_here(shared: InProcessHouse) -> None:
    made = signed(shared, HttpRequest("POST", "/", headers=FORM, body=b"Action=ListQueues"), "sqs")
    answer = sent(shared, made)
    assert answer.status == 404 and b"UnknownOperationException" in answer.body
    assert sent(shared, HttpRequest("GET", "/favicon.ico")).status == 404


def test_extensions_take_no_rubbish_either(shared: InProcessHouse) -> None:
    for path, body in (
        ("/_longshore/nothing", b""),
        ("/_longshore/explain/x", b"{"),
        ("/_longshore/explain/x", b"[" * 100_000),
        ("/_longshore/explain/x", b'{"a":' * 100_000),
        ("/_longshore/explain/x", b'{"a": ' + b"9" * 5000 + b"}"),
        ("/_longshore/explain/x", b"\xff"),
        ("/_longshore/explain/x", b"[]"),
        ("/_longshore/explain/%ff", b""),
        ("/_longshore/explain/x", b""),
    ):
        answer = sent(shared, signed(shared, HttpRequest("GET", path, body=body), "batch"))
        assert 400 <= answer.status < 500, (path, body, answer)
    assert sent(shared, HttpRequest("GET", "/_longshore/explain/x")).status == 400
