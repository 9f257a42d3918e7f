"""Signature -> Principal."""

from __future__ import annotations

import hmac
from datetime import datetime

from longshore.aws import sigv4
from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal, root
from longshore.aws.wire.http import HttpRequest
from longshore.gateway.ports import Identities
from longshore.store.engine import Store

# What IAM and STS call InvalidClientTokenId, the JSON services call by this name (iam.md 13).
_JSON_CODES = {
    "InvalidClientTokenId": (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        400,
    ),
    "ExpiredToken": ("ExpiredTokenException", "The security token included in the request is expired", 400),
}


class Authenticator:
    """Knows the root keys itself, and asks `Identities` for all others."""

    def __init__(self, store: Store, identities: Identities, *, account: str, root_key: str, root_secret: str) -> None:
        self._store = store
        self._identities = identities
        self._root_key = root_key
        self._root_secret = root_secret
        self._root = root(account, root_key)

    def authenticate(
        self, request: HttpRequest, now: datetime, *, json_style: bool, service: str | None = None
    ) -> Principal:
        """Who signed the request. AwsError: unsigned, unknown key, wrong signature, expired, in the protocol's codes.

        `service`: for which the request was taken. A signature is good for the service of its scope alone; None: for any.
        """
        shown = sigv4.credential_of(request, json_style=json_style)
        if service is not None and shown.service != service:
            raise sigv4.wrong(json_style, f"Credential should be scoped to correct service: '{service}'.")
        if hmac.compare_digest(shown.access_key_id.encode(), self._root_key.encode()):
            principal, secret = self._root, self._root_secret
        else:
            try:
                principal, secret = self._store.read(
                    lambda transaction: self._identities.find(transaction, shown.access_key_id, shown.token, now)
                )
            except AwsError as error:
                if json_style and error.code in _JSON_CODES:
                    code, message, status = _JSON_CODES[error.code]
                    raise AwsError(code, message, status=status) from error
                raise
        sigv4.verify(request, secret, now=now, json_style=json_style, shown=shown)
        return principal
