"""Signature Version 4, both sides: what the server verifies and what the agent signs.

Source: IAM user guide, "AWS Signature Version 4 for API requests". Every service but S3 encodes the path a second time
in the canonical request, so a percent-encoded ARN in a path appears there with `%25`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes, urlsplit

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.aws.wire.http import HttpRequest

SKEW = timedelta(minutes=5)
_ALGORITHM = "AWS4-HMAC-SHA256"
_TIME = "%Y%m%dT%H%M%SZ"
_PRESIGNED_SECONDS_MAX = 604_800  # seven days
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_EMPTY = hashlib.sha256(b"").hexdigest()
_UNRESERVED = "-_.~"
# As every SDK writes it. Other orders and spaces are read too, more slowly.
_USUAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^,=\s]+), ?SignedHeaders=([^,=\s]+), ?Signature=([^,=\s]+)")


class Credential(Struct, frozen=True):
    """What a request shows of who signed it; nothing of it is verified yet."""

    access_key_id: str
    date: str  # yyyymmdd, of the scope
    region: str
    service: str
    token: str | None  # None: a long-term key
    signed_headers: str
    signature: str
    timestamp: str  # as sent
    expires_seconds: int | None  # of a presigned request; None: the signature is in the header


def credential_of(request: HttpRequest, *, json_style: bool = False) -> Credential:
    """What the Authorization header, or a presigned query, shows.

    AwsError: unsigned (MissingAuthenticationToken), or a signature without its form (IncompleteSignature).
    """
    authorization = request.headers.get("authorization")
    if authorization is None:
        return _presigned(request, json_style)
    timestamp = request.headers.get("x-amz-date") or request.headers.get("date") or ""
    token = request.headers.get("x-amz-security-token")
    usual = _USUAL.fullmatch(authorization)
    if usual is not None:
        return _credential(usual[1], usual[2], usual[3], timestamp, token, None)
    parts = _authorization_parts(authorization)
    timestamp = request.headers.get("x-amz-date") or request.headers.get("date") or ""
    lacking = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parts.get(name)
    ]
    if not timestamp:
        lacking.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if lacking:
        # Observed, not documented: all that is missing is named. What was sent is not repeated beyond its first word.
        raise _incomplete(f"{' '.join(lacking)} Authorization={authorization.split(' ', 1)[0][:40]}")
    token = request.headers.get("x-amz-security-token")
    return _credential(parts["Credential"], parts["SignedHeaders"], parts["Signature"], timestamp, token, None)


def _authorization_parts(authorization: str) -> dict[str, str]:
    """What the header names; nothing when it is of another kind (`Bearer`, another algorithm)."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != _ALGORITHM:
        return {}
    return dict(part.strip().partition("=")[::2] for part in rest.split(",") if "=" in part)


def _presigned(request: HttpRequest, json_style: bool) -> Credential:
    query = {_text(name): _text(value) for name, value in _pairs(request.query_string)}
    if query.get("X-Amz-Algorithm") != _ALGORITHM:
        code = "MissingAuthenticationTokenException" if json_style else "MissingAuthenticationToken"
        raise AwsError(code, "Request is missing Authentication Token", status=400 if json_style else 403)
    for name in ("X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"):
        if not query.get(name):
            raise _incomplete(f"Query string requires '{name}' parameter.")
    expires = query.get("X-Amz-Expires", "900")
    if not (expires.isdecimal() and len(expires) < 8 and 1 <= int(expires) <= _PRESIGNED_SECONDS_MAX):
        raise _incomplete(f"X-Amz-Expires must be between 1 and {_PRESIGNED_SECONDS_MAX} seconds.")
    return _credential(
        query["X-Amz-Credential"],
        query["X-Amz-SignedHeaders"],
        query["X-Amz-Signature"],
        query["X-Amz-Date"],
        query.get("X-Amz-Security-Token"),
        int(expires),
    )


def _credential(
    scope: str, signed_headers: str, signature: str, timestamp: str, token: str | None, expires: int | None
) -> Credential:
    parts = scope.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request":
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{scope[:200]}'"
        )
    return Credential(parts[0], parts[1], parts[2], parts[3], token, signed_headers, signature, timestamp, expires)


def verify(
    request: HttpRequest, secret: str, *, now: datetime, json_style: bool = False, shown: Credential | None = None
) -> None:
    """Returns when the signature is good. AwsError: wrong, expired, not yet valid.

    `shown` saves reading the header twice.
    """
    shown = shown or credential_of(request, json_style=json_style)
    _check_time(shown, now, json_style)
    scope = f"{shown.date}/{shown.region}/{shown.service}/aws4_request"
    headers = request.headers
    names = shown.signed_headers.split(";")
    if "host" not in names:
        raise wrong(json_style, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    # It names the operation. Left out of the signature, a request that was overheard would do for any other with that body.
    if "x-amz-target" in headers and "x-amz-target" not in names:
        raise wrong(json_style, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.")
    if shown.expires_seconds is None:
        query = _canonical_query(request.query_string)
        payload = hashlib.sha256(request.body).hexdigest() if request.body else _EMPTY
        declared = headers.get("x-amz-content-sha256")
        if declared is not None and declared != "UNSIGNED-PAYLOAD" and declared != payload:
            raise wrong(json_style, _MISMATCH)
    else:
        query = _canonical_query(request.query_string, without=b"X-Amz-Signature")
        payload = hashlib.sha256(request.body).hexdigest() if request.body else _EMPTY
    try:
        lines = "".join([f"{name}:{_collapsed(headers[name])}\n" for name in names])
    except KeyError as error:
        raise wrong(json_style, _MISMATCH) from error
    canonical = (
        f"{request.method}\n{_canonical_path(request.path)}\n{query}\n{lines}\n{shown.signed_headers}\n{payload}"
    )
    expected = _signature(secret, shown.date, shown.region, shown.service, shown.timestamp, scope, canonical)
    if not hmac.compare_digest(expected.encode(), shown.signature.encode()):
        raise wrong(json_style, _MISMATCH)


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    service: str,
    region: str,
    access_key_id: str,
    secret: str,
    token: str | None,
    now: datetime,
) -> dict[str, str]:
    """All headers of the signed request, those given among them; names in lower case, `host` included."""
    parts = urlsplit(url)
    signed = {name.lower(): value for name, value in headers.items()}
    signed["host"] = parts.netloc
    timestamp = now.astimezone(UTC).strftime(_TIME)
    signed["x-amz-date"] = timestamp
    if token:
        signed["x-amz-security-token"] = token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{_collapsed(signed[name])}\n" for name in sorted(signed))
    payload = hashlib.sha256(body).hexdigest()
    canonical = (
        f"{method}\n{_canonical_path(parts.path or '/')}\n{_canonical_query(parts.query)}\n{lines}\n{names}\n{payload}"
    )
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    signature = _signature(secret, timestamp[:8], region, service, timestamp, scope, canonical)
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def _signature(secret: str, date: str, region: str, service: str, timestamp: str, scope: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{_ALGORITHM}\n{timestamp}\n{scope}\n{digest}"
    return hmac.digest(_key(secret, date, region, service), text.encode("latin-1", "replace"), "sha256").hex()


@lru_cache(4096)
def _key(secret: str, date: str, region: str, service: str) -> bytes:
    """The signing key of the day: the same for every request of it."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("latin-1", "replace"), "sha256")
    return key


def _check_time(shown: Credential, now: datetime, json_style: bool) -> None:
    signed_at = _moment(shown.timestamp)
    if signed_at is None:
        raise _incomplete(f"Date must be in ISO-8601 'basic format'. Got '{shown.timestamp[:40]}'.")
    if shown.timestamp[:8] != shown.date:
        raise wrong(
            json_style,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{shown.date[:40]}' != '{shown.timestamp[:8]}', from '{shown.timestamp}'.",
        )
    lasting = SKEW if shown.expires_seconds is None else timedelta(seconds=shown.expires_seconds)
    if now > signed_at + lasting:
        current, earliest = now.strftime(_TIME), (now - lasting).strftime(_TIME)
        allowance = "5 min." if shown.expires_seconds is None else f"{shown.expires_seconds} s."
        raise wrong(
            json_style,
            f"Signature expired: {shown.timestamp} is now earlier than {earliest} ({current} - {allowance})",
        )
    if now < signed_at - SKEW:
        current, latest = now.strftime(_TIME), (now + SKEW).strftime(_TIME)
        raise wrong(
            json_style,
            f"Signature not yet current: {shown.timestamp} is still later than {latest} ({current} + 5 min.)",
        )


@lru_cache(256)
def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


@lru_cache(1024)
def _canonical_path(path: str) -> str:
    if path == "/":
        return path
    return quote(_without_dots(path), safe="/" + _UNRESERVED)


def _without_dots(path: str) -> str:
    """The path with `.`, `..` and empty segments resolved (RFC 3986), as all services but S3 sign it."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment in ("", "."):
            continue
        if segment == "..":
            if kept:
                kept.pop()
        else:
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")


def _canonical_query(query: str, *, without: bytes | None = None) -> str:
    if not query:
        return ""
    pairs = [
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in _pairs(query)
        if name != without
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _pairs(query: str) -> list[tuple[bytes, bytes]]:
    """Bytes, not texts: two queries that differ in what is no UTF-8 must not have one signature."""
    return [
        (unquote_to_bytes(name.replace("+", " ")), unquote_to_bytes(value.replace("+", " ")))
        for name, _, value in (part.partition("=") for part in query.split("&") if part)
    ]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _collapsed(value: str) -> str:
    return " ".join(value.split()) if "  " in value or value != value.strip() else value


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignature", message, status=400)


def wrong(json_style: bool, message: str) -> AwsError:
    """A signature that is not good, as query services or JSON services say it."""
    if json_style:
        return AwsError("InvalidSignatureException", message, status=400)
    return AwsError("SignatureDoesNotMatch", message, status=403)
