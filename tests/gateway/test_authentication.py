"""Who signs, and who does not: each protocol's own codes, through the whole gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.requests import KEY, error_of, sent, signed
from in_process import ACCOUNT, REGION, ROOT, InProcessHouse
from longshore.aws.wire.http import HttpRequest
from people import Person, allow, document, trust

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
JSON = {"content-type": "application/x-amz-json-1.1"}
REQUESTS: dict[str, HttpRequest] = {
    "iam": HttpRequest("POST", "/", "", FORM, b"Action=ListRoles&Version=2010-05-08"),
    "sts": HttpRequest("POST", "/", "", FORM, b"Action=GetCallerIdentity&Version=2011-06-15"),
    "ec2": HttpRequest("POST", "/", "", FORM, b"Action=DescribeInstances&Version=2016-11-15"),
    "ecs": HttpRequest(
        "POST", "/", "", {**JSON, "x-amz-target": "AmazonEC2ContainerServiceV20141113.ListClusters"}, b"{}"
    ),
    "logs": HttpRequest("POST", "/", "", {**JSON, "x-amz-target": "Logs_20140328.DescribeLogGroups"}, b"{}"),
    "batch": HttpRequest("POST", "/v1/describejobqueues", "", {"content-type": "application/json"}, b"{}"),
}
NOT_ABLE = "AWS was not able to validate the provided access credentials"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)

# what is wrong -> service -> (code, status), and the message of those that have their own
UNSIGNED = {
    "iam": ("MissingAuthenticationToken", 403),
    "sts": ("MissingAuthenticationToken", 403),
    "ec2": ("AuthFailure", 401),
    "ecs": ("MissingAuthenticationTokenException", 400),
    "logs": ("MissingAuthenticationTokenException", 400),
    "batch": ("MissingAuthenticationTokenException", 400),
}
UNKNOWN_KEY = {
    "iam": ("InvalidClientTokenId", 403),
    "sts": ("InvalidClientTokenId", 403),
    "ec2": ("AuthFailure", 401),
    "ecs": ("UnrecognizedClientException", 400),
    "logs": ("UnrecognizedClientException", 400),
    "batch": ("UnrecognizedClientException", 400),
}
WRONG = {
    "iam": ("SignatureDoesNotMatch", 403),
    "sts": ("SignatureDoesNotMatch", 403),
    "ec2": ("AuthFailure", 401),
    "ecs": ("InvalidSignatureException", 400),
    "logs": ("InvalidSignatureException", 400),
    "batch": ("InvalidSignatureException", 400),
}
EXPIRED_TOKEN = {
    "iam": ("ExpiredToken", 403),
    "sts": ("ExpiredToken", 403),
    "ec2": ("RequestExpired", 400),
    "ecs": ("ExpiredTokenException", 400),
    "logs": ("ExpiredTokenException", 400),
    "batch": ("ExpiredTokenException", 400),
}
MALFORMED = {
    "iam": ("IncompleteSignature", 400),
    "sts": ("IncompleteSignature", 400),
    "ec2": ("AuthFailure", 401),
    "ecs": ("IncompleteSignatureException", 400),
    "logs": ("IncompleteSignatureException", 400),
    "batch": ("IncompleteSignatureException", 400),
}

services = pytest.mark.parametrize("service", sorted(REQUESTS))


def refused(house: InProcessHouse, request: HttpRequest, service: str) -> tuple[str, str, int]:
    answer = sent(house, request)
    assert answer.status >= 400, answer
    return error_of(service, answer)


@services
def test_a_signed_request_is_answered(house: InProcessHouse, service: str) -> None:
    assert sent(house, signed(house, REQUESTS[service], service)).status == 200


@services
def test_an_unsigned_request(house: InProcessHouse, service: str) -> None:
    code, message, status = refused(house, REQUESTS[service], service)
    assert (code, status) == UNSIGNED[service]
    assert message == "Request is missing Authentication Token"


@services
def test_a_key_that_nobody_has(house: InProcessHouse, service: str) -> None:
    for key in (
        ("AKIANOBODYNOBODYNOBO", "s", None),
        ("ASIANOBODYNOBODYNOBO", "s", "token"),
        ("", "s", None),
        ("é", "s", "t"),
    ):
        code, message, status = refused(house, signed(house, REQUESTS[service], service, key=key), service)
        assert (code, status) == UNKNOWN_KEY[service]
        assert message == (NOT_ABLE if service == "ec2" else "The security token included in the request is invalid.")


@services
def test_a_wrong_secret_and_a_changed_request(house: InProcessHouse, service: str) -> None:
    wrong = signed(house, REQUESTS[service], service, key=(ROOT.access_key_id, "wrong", None))
    good = signed(house, REQUESTS[service], service)
    changed = replace(good, body=good.body + b" ")
    for request in (wrong, changed):
        code, message, status = refused(house, request, service)
        assert (code, status) == WRONG[service]
        assert message == (NOT_ABLE if service == "ec2" else MISMATCH)


@services
def test_a_clock_that_is_wrong(house: InProcessHouse, service: str) -> None:
    request = signed(house, REQUESTS[service], service)
    house.pass_time(299)
    assert sent(house, request).status == 200
    house.pass_time(2)
    code, message, status = refused(house, request, service)
    assert (code, status) == WRONG[service]
    assert message == (
        NOT_ABLE
        if service == "ec2"
        else "Signature expired: 20260101T000000Z is now earlier than 20260101T000001Z (20260101T000501Z - 5 min.)"
    )


@services
def test_a_signature_without_its_form(house: InProcessHouse, service: str) -> None:
    good = signed(house, REQUESTS[service], service)
    authorization = good.headers["authorization"]
    scope = authorization.partition("Credential=")[2].partition(",")[0]
    for header in (
        authorization.replace("Signature=", "Sig="),
        authorization.replace("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 "),
        f"AWS4-HMAC-SHA256 Credential={scope}",
    ):
        request = replace(good, headers={**good.headers, "authorization": header})
        code, _, status = refused(house, request, service)
        assert (code, status) == MALFORMED[service]


@services
def test_a_signature_for_another_service_is_none_for_this_one(house: InProcessHouse, service: str) -> None:
    """Named first for one service and then for another: taken for the first, good for the second, and refused."""
    other = "sts" if service != "sts" else "iam"
    good = signed(house, REQUESTS[service], other)
    authorization = good.headers["authorization"]
    first = f"Credential={ROOT.access_key_id}/20260101/{REGION}/{service}/aws4_request, "
    request = replace(
        good, headers={**good.headers, "authorization": authorization.replace("Credential=", first + "Credential=", 1)}
    )
    assert refused(house, request, service)[::2] == WRONG[service]


def session(house: InProcessHouse, *, seconds: int = 900, **more: Any) -> dict[str, Any]:
    ann = Person(house, "ann")
    ann.may(allow("sts:AssumeRole"))
    house.client("iam").create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": ann.arn}))
    house.client("iam").put_role_policy(RoleName="ops", PolicyName="all", PolicyDocument=document(allow("*")))
    arn = f"arn:aws:iam::{ACCOUNT}:role/ops"
    found: dict[str, Any] = ann.client("sts").assume_role(
        RoleArn=arn, RoleSessionName="job", DurationSeconds=seconds, **more
    )["Credentials"]
    return found


@services
def test_temporary_credentials_until_they_end(house: InProcessHouse, service: str) -> None:
    given = session(house)
    key = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    assert sent(house, signed(house, REQUESTS[service], service, key=key)).status == 200
    invalid = [
        (key[0], key[1], None),  # Without its token the key is nobody's.
        (key[0], key[1], key[2][:-4] + "AAAA"),
        (ROOT.access_key_id[:-1] + "X", key[1], key[2]),  # The token of another key.
    ]
    for each in invalid:
        code, _, status = refused(house, signed(house, REQUESTS[service], service, key=each), service)
        assert (code, status) == UNKNOWN_KEY[service]
    assert (
        refused(house, signed(house, REQUESTS[service], service, key=(key[0], "x", key[2])), service)[::2]
        == WRONG[service]
    )
    house.pass_time(901)
    code, message, status = refused(house, signed(house, REQUESTS[service], service, key=key), service)
    assert (code, status) == EXPIRED_TOKEN[service]
    assert message == (
        "Request has expired." if service == "ec2" else "The security token included in the request is expired"
    )


def test_presigned_requests_by_an_unmodified_client(house: InProcessHouse) -> None:
    import urllib.parse

    given = session(house)
    sts = house.client("sts", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    url = urllib.parse.urlsplit(sts.generate_presigned_url("get_caller_identity", ExpiresIn=3600, HttpMethod="GET"))
    request = HttpRequest("GET", url.path or "/", url.query, {"host": url.netloc})
    answer = sent(house, request)
    assert answer.status == 200 and b"assumed-role/ops/job" in answer.body
    forged = replace(request, query_string=url.query.replace("GetCallerIdentity", "GetSessionToken"))
    assert refused(house, forged, "sts")[0] == "SignatureDoesNotMatch"
    bare = replace(request, query_string=url.query.partition("&X-Amz-Algorithm")[0])
    assert refused(house, bare, "sts")[0] == "MissingAuthenticationToken"
    house.pass_time(900)  # The URL would last an hour, its credentials fifteen minutes.
    house.pass_time(1)
    assert refused(house, request, "sts")[0] == "ExpiredToken"


def test_the_resource_in_a_batch_path_is_encoded_twice(house: InProcessHouse) -> None:
    """By an unmodified client: an ARN with a slash, and with what needs encoding, in `/v1/tags/{resourceArn}`."""
    from botocore.exceptions import ClientError

    batch = house.client("batch")
    arn = batch.register_job_definition(
        jobDefinitionName="jd",
        type="container",
        tags={"a b": "c/d"},
        containerProperties={"image": "busybox", "vcpus": 1, "memory": 64},
    )["jobDefinitionArn"]
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"a b": "c/d"}
    batch.untag_resource(resourceArn=arn, tagKeys=["a b", "é&=+"])
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {}
    with pytest.raises(ClientError) as caught:
        batch.list_tags_for_resource(resourceArn=arn + "/%2F é?#")
    assert caught.value.response["Error"]["Code"] == "ClientException"


def test_a_key_that_was_put_out_of_use_or_deleted(house: InProcessHouse) -> None:
    ann = Person(house, "ann")
    iam = house.client("iam")
    key = (ann.key["AccessKeyId"], ann.key["SecretAccessKey"], None)
    assert sent(house, signed(house, REQUESTS["sts"], "sts", key=key)).status == 200
    iam.update_access_key(UserName="ann", AccessKeyId=key[0], Status="Inactive")
    assert refused(house, signed(house, REQUESTS["sts"], "sts", key=key), "sts")[0] == "InvalidClientTokenId"
    iam.update_access_key(UserName="ann", AccessKeyId=key[0], Status="Active")
    assert sent(house, signed(house, REQUESTS["sts"], "sts", key=key)).status == 200
    iam.delete_access_key(UserName="ann", AccessKeyId=key[0])
    assert refused(house, signed(house, REQUESTS["sts"], "sts", key=key), "sts")[0] == "InvalidClientTokenId"


def test_every_region_is_behind_the_one_endpoint(house: InProcessHouse) -> None:
    for region in (REGION, "eu-west-1", "ap-southeast-3"):
        request = signed(house, REQUESTS["ecs"], "ecs", region=region, key=KEY)
        assert sent(house, request).status == 200
    house.client("ecs", region="eu-west-1").create_cluster(clusterName="there")
    assert house.client("ecs").list_clusters()["clusterArns"] == []
    assert (
        len(json.loads(sent(house, signed(house, REQUESTS["ecs"], "ecs", region="eu-west-1")).body)["clusterArns"]) == 1
    )
