"""Signatures: made by botocore, verified by us; made by us, equal to botocore's. And all that must not pass."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec.structs import replace

from longshore.aws import sigv4
from longshore.aws.errors import AwsError
from longshore.aws.wire.http import HttpRequest

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "tok/en+with=signs&more"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MISMATCH = "The request signature we calculated does not match the signature you provided."
URL = "http://127.0.0.1:4570/"


@pytest.fixture(autouse=True)
def signing_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None))


def signed(
    method: str = "POST",
    url: str = URL,
    headers: dict[str, str] | None = None,
    body: bytes = b"Action=GetUser&Version=2010-05-08",
    *,
    service: str = "iam",
    region: str = "us-east-1",
    token: str | None = None,
    presigned_for: int | None = None,
    raw: list[tuple[str, str]] | None = None,
) -> HttpRequest:
    """A request as botocore signs it and as it arrives here. `raw`: headers beyond those of a mapping (repeated ones)."""
    request = AWSRequest(method=method, url=url, headers=dict(headers or {}), data=body)
    for name, value in raw or []:
        request.headers.add_header(name, value)
    credentials = Credentials(KEY, SECRET, token)
    if presigned_for is None:
        botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    else:
        botocore.auth.SigV4QueryAuth(credentials, service, region, expires=presigned_for).add_auth(request)
    parts = urlsplit(request.url)
    arrived: dict[str, str] = {"host": parts.netloc}
    for name, value in request.headers.items():
        name = name.lower()
        arrived[name] = f"{arrived[name]},{value}" if name in arrived and name != "host" else value
    return HttpRequest(method, parts.path, parts.query, arrived, body)


def verify(request: HttpRequest, now: datetime = NOW, secret: str = SECRET, *, json_style: bool = False) -> None:
    sigv4.verify(request, secret, now=now, json_style=json_style)


def refusal(request: HttpRequest, now: datetime = NOW, secret: str = SECRET, *, json_style: bool = False) -> AwsError:
    with pytest.raises(AwsError) as caught:
        verify(request, now, secret, json_style=json_style)
    return caught.value


# Good ones ---------------------------------------------------------------------------------------------------------------

PATHS = (
    "/",
    "/v1/submitjob",
    "/v1/tags/arn%3Aaws%3Abatch%3Aus-east-1%3A123456789012%3Ajob-queue%2Fa%20b",
    "/v1/tags/arn:aws:batch:us-east-1:123456789012:job-queue/q",
    "/a/./b/../c//d/",
    "/a/b/..",
    "//",
    "/%E6%9D%B1/%7e~-_.!*'();@&=+$,",
)
QUERIES = (
    "",
    "tagKeys=a&tagKeys=b",
    "b=2&a=1&a=0",
    "empty=&=nameless&flag",
    "x=%20&y=%2B&z=a%3Db%26c",
    "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
    "q=~-_.",
    "raw=%FF%FE",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", QUERIES)
def test_paths_and_queries_however_odd_are_good_in_header_and_url(path: str, query: str) -> None:
    url = f"http://127.0.0.1:4570{path}" + (f"?{query}" if query else "")
    for token in (None, TOKEN):
        verify(signed("GET", url, body=b"", service="batch", token=token))
    if "nameless" not in query and "%FF" not in query:  # botocore's own presigner drops what it cannot parse
        verify(signed("GET", url, body=b"", service="batch", presigned_for=60, token=TOKEN))


def test_whatever_the_path_and_query_botocore_and_we_agree() -> None:
    chance = random.Random(4)
    letters = "abzAZ09-_.~!*'();:@&=+$,/?#[] %é東\"<>\\^`{|}\t"
    for _ in range(400):
        segments = [quote("".join(chance.choices(letters, k=chance.randrange(6))), safe="") for _ in range(4)]
        segments += chance.choices(["", ".", "..", "a", "a:b", "x%2Fy"], k=3)
        chance.shuffle(segments)
        pairs = [
            "=".join(quote("".join(chance.choices(letters, k=chance.randrange(5))), safe="-_.~") for _ in range(2))
            for _ in range(chance.randrange(4))
        ]
        url = f"http://host.example/{'/'.join(segments)}?{'&'.join(pairs)}"
        verify(signed("PUT", url, service="logs"))


def test_headers_are_trimmed_and_repeated_ones_joined() -> None:
    headers = {"X-Amz-Target": "  A.B   C ", "My-Header": 'a   "b   c"  ', "Content-Type": "application/x-amz-json-1.1"}
    verify(signed(headers=headers))
    verify(signed(raw=[("X-Twice", "one"), ("X-Twice", "two  three"), ("X-Twice", "")]))


def test_bodies_and_temporary_credentials() -> None:
    for body in (b"", b"x", bytes(range(256)) * 100):
        for token in (None, TOKEN):
            request = signed(body=body, token=token)
            verify(request)
            assert sigv4.credential_of(request).token == token
    request = signed(
        "GET", f"{URL}?Action=GetCallerIdentity&Version=2011-06-15", body=b"", presigned_for=60, token=TOKEN
    )
    verify(request)
    shown = sigv4.credential_of(request)
    assert (shown.access_key_id, shown.token, shown.expires_seconds) == (KEY, TOKEN, 60)
    assert (shown.region, shown.service, shown.date) == ("us-east-1", "iam", "20260102")


def test_a_request_of_the_day_before_yesterday_is_good_at_its_time_whatever_key_was_used_last() -> None:
    """The day's signing key is kept: by secret, day, region and service, all four."""
    for region in ("us-east-1", "eu-west-1"):
        for service in ("iam", "sts"):
            verify(signed(region=region, service=service))
            assert "does not match" in refusal(signed(region=region, service=service), secret="other").message


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [-5, -1, 0, 1, 5])
def test_five_minutes_to_either_side_are_allowed(minutes: int) -> None:
    verify(signed(), NOW + timedelta(minutes=minutes))


def test_outside_of_five_minutes_the_times_are_told() -> None:
    late = refusal(signed(), NOW + timedelta(minutes=5, seconds=1))
    assert (late.code, late.status) == ("SignatureDoesNotMatch", 403)
    assert late.message == (
        "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z (20260102T030906Z - 5 min.)"
    )
    early = refusal(signed(), NOW - timedelta(minutes=5, seconds=1), json_style=True)
    assert (early.code, early.status) == ("InvalidSignatureException", 400)
    assert early.message == (
        "Signature not yet current: 20260102T030405Z is still later than 20260102T030404Z (20260102T025904Z + 5 min.)"
    )


def test_a_presigned_request_lasts_as_long_as_it_says() -> None:
    request = signed("GET", f"{URL}?Action=GetUser", body=b"", presigned_for=3600)
    verify(request, NOW + timedelta(hours=1))
    verify(request, NOW - timedelta(minutes=5))
    assert refusal(request, NOW + timedelta(seconds=3601)).message.startswith("Signature expired: ")
    assert refusal(request, NOW - timedelta(seconds=301)).message.startswith("Signature not yet current: ")


@pytest.mark.parametrize("seconds", ["0", "604801", "-1", "x", "", "1.5", "9" * 5000, "٣٠٠٠٠٠٠٠٠"])
def test_a_presigned_request_that_lasts_too_long_or_says_nothing_readable_is_refused(seconds: str) -> None:
    request = signed("GET", f"{URL}?Action=GetUser", body=b"", presigned_for=60)
    query = request.query_string.replace("X-Amz-Expires=60", f"X-Amz-Expires={quote(seconds)}")
    assert refusal(replace(request, query_string=query)).code in ("IncompleteSignature", "SignatureDoesNotMatch")


# What was changed on the way -------------------------------------------------------------------------------------------


def altered(request: HttpRequest, header: str, value: str | None) -> HttpRequest:
    headers = dict(request.headers)
    if value is None:
        del headers[header]
    else:
        headers[header] = value
    return replace(request, headers=headers)


def test_whatever_was_signed_and_changed_is_refused() -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Amz-Target": "A.B"}
    good = signed(url=f"{URL}path?a=1&b=2", headers=headers, token=TOKEN)
    verify(good)
    authorization = good.headers["authorization"]
    changed = [
        replace(good, method="PUT"),
        replace(good, path="/other"),
        replace(good, path="/path/"),
        replace(good, query_string="a=1&b=3"),
        replace(good, query_string="a=1"),
        replace(good, query_string=""),
        replace(good, query_string="a=1&b=2&c"),
        replace(good, body=good.body + b" "),
        replace(good, body=b""),
        altered(good, "content-type", "text/plain"),
        altered(good, "x-amz-target", "A.C"),
        altered(good, "x-amz-target", None),
        altered(good, "host", "elsewhere:4570"),
        altered(good, "x-amz-security-token", TOKEN + "x"),
        altered(good, "x-amz-security-token", None),
        altered(good, "x-amz-date", "20260102T030406Z"),
        altered(good, "x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        altered(good, "x-amz-content-sha256", "0" * 64),
        altered(good, "authorization", authorization.replace("us-east-1", "eu-west-1")),
        altered(good, "authorization", authorization.replace("/iam/", "/sts/")),
        altered(good, "authorization", authorization[:-1] + ("0" if authorization[-1] != "0" else "1")),
        altered(good, "authorization", authorization[:-64] + authorization[-64:].upper()),
        altered(good, "authorization", authorization.replace("content-type;", "")),
        altered(good, "authorization", authorization.replace("content-type;", "content-type;x-not-sent;")),
        altered(good, "authorization", authorization.replace("Signature=", "Signature=é")),
    ]
    refused = 0
    for request in changed:
        if request.headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
            verify(request)  # Said, not signed: the body is verified all the same.
            request = replace(request, body=b"other")
        error = refusal(request)
        assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
        assert error.message.startswith(MISMATCH)
        refused += 1
    assert refused == len(changed)
    wrong = refusal(good, secret=SECRET + "x", json_style=True)
    assert (wrong.code, wrong.status) == ("InvalidSignatureException", 400)


def test_whatever_was_presigned_and_changed_is_refused() -> None:
    good = signed("GET", f"{URL}?Action=GetUser&UserName=a", body=b"", presigned_for=60, token=TOKEN)
    verify(good)
    query = good.query_string
    for changed in (
        query.replace("UserName=a", "UserName=b"),
        query.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        query.replace("X-Amz-Date=20260102T030405Z", "X-Amz-Date=20260102T030406Z"),
        query.replace("X-Amz-Security-Token=t", "X-Amz-Security-Token=u"),
        query.replace("iam%2Faws4_request", "sts%2Faws4_request"),
        query + "&more=1",
        query.replace("UserName=a&", ""),
    ):
        assert changed != query
        assert refusal(replace(good, query_string=changed)).message.startswith(MISMATCH)
    for request in (replace(good, body=b"Action=DeleteUser"), replace(good, method="POST"), altered(good, "host", "x")):
        assert refusal(request).message.startswith(MISMATCH)


def test_queries_that_differ_in_bytes_that_are_no_utf_8_have_different_signatures() -> None:
    good = signed("GET", f"{URL}?raw=%FF", body=b"")
    for other in ("%FE", "%EF%BF%BD", "%ff%ff"):
        assert refusal(replace(good, query_string=f"raw={other}")).message.startswith(MISMATCH)


def test_an_unsigned_payload_is_refused_outside_of_s3() -> None:
    headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert refusal(signed(headers=headers)).message.startswith(MISMATCH)
    assert refusal(signed(headers={"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})).message.startswith(
        MISMATCH
    )


def test_the_host_must_be_signed() -> None:
    request = signed()
    authorization = request.headers["authorization"].replace("host;", "")
    assert "host" not in authorization.lower().split("signature=")[0]
    error = refusal(altered(request, "authorization", authorization))
    assert error.message == "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."


# What is no signature ------------------------------------------------------------------------------------------------


def test_the_operation_is_part_of_what_is_signed() -> None:
    request = signed(headers={"Content-Type": "application/x-amz-json-1.1"})
    with_target = replace(request, headers={**request.headers, "x-amz-target": "A.B"})
    error = refusal(with_target, json_style=True)
    assert (error.code, error.message) == (
        "InvalidSignatureException", "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
    )  # fmt: skip
    assert refusal(with_target).code == "SignatureDoesNotMatch"


def test_unsigned_is_told_in_the_style_of_the_protocol() -> None:
    bare = HttpRequest("POST", "/", headers={"host": "h"}, body=b"Action=GetUser")
    error = refusal(bare)
    assert (error.code, error.status, error.message) == (
        "MissingAuthenticationToken", 403, "Request is missing Authentication Token",
    )  # fmt: skip
    error = refusal(bare, json_style=True)
    assert (error.code, error.status) == ("MissingAuthenticationTokenException", 400)


ALL_LACKING = (
    "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
    "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a "
    "'X-Amz-Date' or a 'Date' header. Authorization={}"
)


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("", ALL_LACKING.format("")),
        ("Bearer a.b.c", ALL_LACKING.format("Bearer")),
        ("AWS4-HMAC-SHA256", ALL_LACKING.format("AWS4-HMAC-SHA256")),
        ("AWS4-HMAC-SHA256Credential=a/b/c/d/aws4_request", None),
        ("AWS4-ECDSA-P256-SHA256 Credential=a/20260102/iam/aws4_request, SignedHeaders=host, Signature=0", None),
        ("AWS4-HMAC-SHA256 ,,,===,", ALL_LACKING.format("AWS4-HMAC-SHA256")),
    ],
)
def test_what_an_authorization_lacks_is_named(authorization: str, message: str | None) -> None:
    error = refusal(HttpRequest("POST", "/", headers={"host": "h", "authorization": authorization}))
    assert (error.code, error.status) == ("IncompleteSignature", 400)
    if message is not None:
        assert error.message == message


@pytest.mark.parametrize("part", ["Credential", "SignedHeaders", "Signature"])
def test_one_missing_part_is_named_alone(part: str) -> None:
    request = signed()
    authorization = request.headers["authorization"].replace(f"{part}=", "Other=")
    error = refusal(altered(request, "authorization", authorization))
    assert error.message == f"Authorization header requires '{part}' parameter. Authorization=AWS4-HMAC-SHA256"


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("AKID", "IncompleteSignature"),
        ("AKID/20260102/us-east-1/iam", "IncompleteSignature"),
        ("AKID/20260102/us-east-1/iam/aws5_request", "IncompleteSignature"),
        ("/////", "IncompleteSignature"),
        (f"{KEY}/20260101/us-east-1/iam/aws4_request", "SignatureDoesNotMatch"),
        (f"{KEY}/é/us-east-1/iam/aws4_request", "SignatureDoesNotMatch"),
    ],
)
def test_a_scope_that_is_none_is_refused(scope: str, code: str) -> None:
    request = signed()
    authorization = request.headers["authorization"].replace(f"{KEY}/20260102/us-east-1/iam/aws4_request", scope)
    assert refusal(altered(request, "authorization", authorization)).code == code


def test_the_day_of_the_scope_is_the_day_of_the_request() -> None:
    request = signed()
    authorization = request.headers["authorization"].replace("/20260102/", "/20260101/")
    assert refusal(altered(request, "authorization", authorization)).message == (
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        "'20260101' != '20260102', from '20260102T030405Z'."
    )


@pytest.mark.parametrize(
    "date", ["now", "2026-01-02T03:04:05Z", "20260102", "20269902T030405Z", "20260102T030405", "é"]
)
def test_a_date_of_another_form_is_refused(date: str) -> None:
    error = refusal(altered(signed(), "x-amz-date", date))
    assert (error.code, error.message) == (
        "IncompleteSignature", f"Date must be in ISO-8601 'basic format'. Got '{date}'.",
    )  # fmt: skip


def test_nothing_that_is_sent_as_a_signature_breaks_the_verifier() -> None:
    """Whatever is cut out of, put into or changed in the signed parts: refused, or good because nothing was said."""
    chance = random.Random(11)
    pool = [
        "",
        "=",
        ",",
        ";",
        "/",
        " ",
        "\x00",
        "é",
        "Credential=",
        "Signature=",
        "AWS4-HMAC-SHA256",
        "9" * 5000,
        "%",
        "%zz",
    ]
    good = [
        signed(token=TOKEN),
        signed("GET", f"{URL}?Action=GetUser", body=b"", presigned_for=60, token=TOKEN),
    ]
    passed = 0
    for _ in range(3000):
        request = chance.choice(good)
        name = chance.choice(["authorization", "x-amz-date", "x-amz-security-token", "query"])
        text = request.query_string if name == "query" else request.headers.get(name, "")
        at = chance.randrange(len(text) + 1)
        changed = text[:at] + chance.choice(pool) + text[at + chance.randrange(3) :]
        request = replace(request, query_string=changed) if name == "query" else altered(request, name, changed)
        try:
            verify(request)
            passed += 1
        except AwsError as error:
            assert error.code in ("IncompleteSignature", "SignatureDoesNotMatch", "MissingAuthenticationToken")
    assert passed < 1500


# Our own signer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS[:4])
@pytest.mark.parametrize("query", ["", "tagKeys=a&tagKeys=b%20c", "b=2&a=1&a=0"])
@pytest.mark.parametrize("token", [None, TOKEN])
def test_our_signature_is_botocores(path: str, query: str, token: str | None) -> None:
    url = f"http://127.0.0.1:4570{path}" + (f"?{query}" if query else "")
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "A.B  C"}
    ours = sigv4.sign("POST", url, headers, b"{}", "ecs", "us-east-1", KEY, SECRET, token, NOW)
    theirs = signed("POST", url, headers, b"{}", service="ecs", token=token)
    assert ours["authorization"] == theirs.headers["authorization"]
    parts = urlsplit(url)
    verify(HttpRequest("POST", parts.path, parts.query, ours, b"{}"))


def test_our_signer_takes_the_hour_from_anywhere_on_earth() -> None:
    elsewhere = NOW.astimezone(__import__("zoneinfo").ZoneInfo("Asia/Tokyo"))
    ours: dict[str, Any] = sigv4.sign("POST", URL, {}, b"", "ecs", "us-east-1", KEY, SECRET, None, elsewhere)
    assert ours["x-amz-date"] == "20260102T030405Z"
    verify(HttpRequest("POST", "/", "", ours, b""))
