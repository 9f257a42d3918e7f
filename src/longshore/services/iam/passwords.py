"""Passwords: what an account asks of them, and how they are kept.

Source: IAM user guide, "Setting an account password policy for IAM users".
"""

from __future__ import annotations

import hashlib
import hmac

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.sealing import Sealer
from longshore.services.iam.records import Login, PasswordPolicy, User

_PURPOSE = "login-profile"
_SALT_BYTES = 16
_SYMBOLS = frozenset("!@#$%^&*()_+-=[]{}|'")
# AWS's default, where an account has no policy of its own: eight characters, of three of the four kinds.
_DEFAULT_LENGTH_MIN = 8
_DEFAULT_KINDS_MIN = 3
_EARLIER_MAX = 24  # IAM API reference, UpdateAccountPasswordPolicy, PasswordReusePrevention: 1 to 24


def check(policy: PasswordPolicy | None, user_name: str, password: str) -> None:
    """PasswordPolicyViolation: the account asks for more."""
    has = {
        "uppercase letter": any(each.isascii() and each.isupper() for each in password),
        "lowercase letter": any(each.isascii() and each.islower() for each in password),
        "number": any(each.isascii() and each.isdigit() for each in password),
        "symbol": any(each in _SYMBOLS for each in password),
    }
    length_min = policy.length_min if policy else _DEFAULT_LENGTH_MIN
    if len(password) < length_min:
        raise violation(f"Password should have a minimum length of {length_min}")
    if policy is None:
        lacks = [kind for kind, there in has.items() if not there]
        wanting = _DEFAULT_KINDS_MIN - (len(has) - len(lacks))
        if wanting > 0:
            kinds = ", ".join(f"Password should have at least one {kind}" for kind in lacks)
            raise violation(f"Password should meet {wanting} more of the following requirements: {kinds}")
        if password.lower() == user_name.lower():
            raise violation("Password should not be the name of the user")
        return
    asked = {
        "uppercase letter": policy.uppercase,
        "lowercase letter": policy.lowercase,
        "number": policy.numbers,
        "symbol": policy.symbols,
    }
    for kind, needed in asked.items():
        if needed and not has[kind]:
            raise violation(f"Password should have at least one {kind}")


def violation(text: str) -> AwsError:
    return AwsError("PasswordPolicyViolation", text, status=400)


def matches(call: Call, sealed_hash: bytes, password: str) -> bool:
    kept = call.house.sealer.unseal(sealed_hash, _PURPOSE)
    return hmac.compare_digest(kept, _hash(password, kept[:_SALT_BYTES]))


def changed(call: Call, policy: PasswordPolicy | None, user: User, password: str, *, must_reset: bool) -> Login:
    """The user's login with the new password. PasswordPolicyViolation: it will not do, or was there too lately."""
    check(policy, user.name, password)
    before = user.login
    earlier = (before.sealed_hash, *before.earlier)[:_EARLIER_MAX] if before else ()
    for sealed in earlier[: (policy.reuse_prevention or 0) if policy else 0]:
        if matches(call, sealed, password):
            raise violation("Policy constraint violation with password reuse prevention during password change.")
    return Login(
        created_at=before.created_at if before else call.now,
        changed_at=call.now,
        sealed_hash=_sealed(call.house.sealer, password, bytes.fromhex(call.ids.hex(2 * _SALT_BYTES))),
        earlier=earlier,
        must_reset=must_reset,
        session_seconds_max=before.session_seconds_max if before else None,
    )


def _sealed(sealer: Sealer, password: str, salt: bytes) -> bytes:
    return sealer.seal(_hash(password, salt), _PURPOSE)


def _hash(password: str, salt: bytes) -> bytes:
    """Salt and scrypt hash, at a cost of some 40 ms: the house stands still for it, and it is seldom asked for."""
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
