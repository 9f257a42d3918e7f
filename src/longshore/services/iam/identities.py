"""Whose access key it is. The gateway's port `Identities`, for long-term keys."""

from __future__ import annotations

from datetime import datetime

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal, root
from longshore.kit.sealing import Sealer
from longshore.services.iam import accounts, store
from longshore.services.iam.records import User
from longshore.store.engine import Transaction

PURPOSE = "access-key"  # what a user's secret is sealed for
_CACHED_MAX = 20_000
# A change of a key or its user gives the account a new version, so that what is found here is true.
_known: dict[tuple[str, str, int], tuple[Principal, str]] = {}
_account_of: dict[str, str] = {}


def access_key(transaction: Transaction, access_key_id: str, now: datetime, sealer: Sealer) -> tuple[Principal, str]:
    """The user, or the root user of an account that was made here, and the secret.

    AwsError InvalidClientTokenId: unknown, inactive or deleted.
    """
    account = _account_of.get(access_key_id)
    if account is not None:
        found = _known.get((account, access_key_id, store.version(transaction, account)))
        if found is not None:
            return found
    row = store.find_key(transaction, access_key_id)
    if row is None:
        owner = accounts.find_by_root_key(transaction, access_key_id)
        if owner is not None:
            secret = _opened(sealer, owner.sealed_secret, accounts.PURPOSE)
            return _kept(transaction, access_key_id, root(owner.account, access_key_id), secret)
    if row is None or not row[1].is_active:
        raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)
    account, key = row
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
    return _kept(transaction, access_key_id, principal, _opened(sealer, key.sealed_secret, PURPOSE))


def account_of(transaction: Transaction, access_key_id: str) -> str | None:
    """Whose key it is, active or not; None: no user's and no root user's of an account that was made here."""
    row = store.find_key(transaction, access_key_id)
    if row is not None:
        return row[0]
    owner = accounts.find_by_root_key(transaction, access_key_id)
    return owner.account if owner is not None else None


def _opened(sealer: Sealer, sealed: bytes, purpose: str) -> str:
    """The secret. A database that was brought without its sealing key gives nobody access, and is no reason to fall over."""
    try:
        return sealer.unseal(sealed, purpose).decode()
    except ValueError as error:
        text = "The security token included in the request is invalid."
        raise AwsError("InvalidClientTokenId", text, status=403) from error


def _kept(transaction: Transaction, access_key_id: str, principal: Principal, secret: str) -> tuple[Principal, str]:
    if len(_known) >= _CACHED_MAX:
        forget()
    account = _account_of[access_key_id] = principal.account
    found = _known[account, access_key_id, store.version(transaction, account)] = (principal, secret)
    return found


def forget() -> None:
    _known.clear()
    _account_of.clear()
    accounts.forget()
