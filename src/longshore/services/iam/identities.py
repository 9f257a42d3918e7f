"""Whose access key it is. The gateway's port `Identities`, for long-term keys."""

from __future__ import annotations

from datetime import datetime

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.kit.sealing import Sealer
from longshore.services.iam import store
from longshore.services.iam.records import User
from longshore.store.engine import Transaction

PURPOSE = "access-key"  # what a user's secret is sealed for
_CACHED_MAX = 20_000
_known: dict[tuple[str, str, int], tuple[Principal, str]] = {}


def access_key(transaction: Transaction, access_key_id: str, now: datetime, sealer: Sealer) -> tuple[Principal, str]:
    """The user and the secret. AwsError InvalidClientTokenId: unknown, inactive or deleted."""
    row = store.find_key(transaction, access_key_id)
    if row is None or not row[1].is_active:
        raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)
    account, key = row
    cached = (account, access_key_id, store.version(transaction, account))
    found = _known.get(cached)
    if found is None:
        user = store.find(transaction, User, account, key.user_name)
        assert user is not None, "a key without its user"  # Invariant: DeleteUser asks for its keys to be gone.
        principal = Principal(
            kind="user",
            account=account,
            arn=user.arn,
            user_id=user.user_id,
            access_key_id=access_key_id,
            user_name=user.name,
        )
        found = principal, sealer.unseal(key.sealed_secret, PURPOSE).decode()
        if len(_known) >= _CACHED_MAX:
            _known.clear()
        _known[cached] = found
    return found


def forget() -> None:
    _known.clear()
