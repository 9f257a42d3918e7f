"""What a principal may do: its policies, compiled. The gateway's port `Entitlements`.

Everything is cached under the account's identity version, which is read in the transaction that decides: a changed policy
bites on the next request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from longshore.aws.principal import Principal
from longshore.policy.document import Document, parse
from longshore.policy.evaluate import Policies
from longshore.services.iam import accounts, managed, store
from longshore.services.iam.records import Group, Policy, Role, User
from longshore.store.engine import Transaction

_NOTHING = Policies()
_EVERYTHING = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
_ALLOWS_NOTHING = Document(())
_CACHED_MAX = 20_000
_policies: dict[Any, Policies] = {}
_trusts: dict[Any, _Trust] = {}
_tags: dict[Any, Mapping[str, str]] = {}


class _Trust(Struct, frozen=True, eq=False):
    """`elsewhere`: the identity versions of other accounts, whose users or roles it names, under which it was made."""

    document: Document | None  # None: there is no such role
    elsewhere: tuple[tuple[str, int], ...] = ()


def policies_of(transaction: Transaction, principal: Principal) -> Policies:
    """Identity-based policies, boundary, session and service control policies. A session whose role is gone has nothing."""
    version = store.version(transaction, principal.account)
    key = (
        principal.account, version, principal.arn, principal.user_id, principal.role_id, principal.session_policies,
        (principal.assumed_by, principal.assumed_by_id, principal.issued_at) if principal.kind == "federated-user" else None,
    )  # fmt: skip
    found = _policies.get(key)
    if found is None:
        found = _kept(_policies, key, _policies_of(transaction, principal))
    return found


def _policies_of(transaction: Transaction, principal: Principal) -> Policies:
    identity = _identity(transaction, principal)
    session = tuple(_limit(transaction, principal.account, each) for each in principal.session_policies)
    control = accounts.service_control_of(transaction, principal.account)
    if identity is None:
        # The root user may federate too: what it may do itself is everything.
        of_root = (
            principal.kind == "federated-user" and principal.assumed_by == f"arn:aws:iam::{principal.account}:root"
        )
        if not of_root:
            return Policies(service_control=control) if control else _NOTHING
        return Policies(identity=(parse(_EVERYTHING),), session=session, service_control=control)
    holders: list[Role | User | Group] = [identity]
    if isinstance(identity, User):
        holders += store.groups_of(transaction, principal.account, identity)
    documents = [text for holder in holders for text in holder.inline.values()]
    attached = dict.fromkeys(arn for holder in holders for arn in holder.attached)  # Several may hold the same.
    documents += [text for arn in attached if (text := _document(transaction, principal.account, arn))]
    return Policies(
        identity=tuple(parse(text) for text in documents),
        boundary=_limit(transaction, principal.account, identity.boundary_arn) if identity.boundary_arn else None,
        session=session,
        # Organizations user guide, "Service control policies": they limit no service-linked role.
        service_control=() if isinstance(identity, Role) and identity.service is not None else control,
    )


def is_there(transaction: Transaction, principal: Principal) -> bool:
    """False: a session whose user or role is gone; one of that name who came later is somebody else."""
    if principal.kind not in ("user", "assumed-role"):
        return True
    return _identity(transaction, principal) is not None


def service_control_of(transaction: Transaction, account: str) -> accounts.Levels:
    """The service control policies of the account, level by level; empty: it has none."""
    return accounts.service_control_of(transaction, account)


def _limit(transaction: Transaction, account: str, given: str) -> Document:
    """A document, given as its text or as the ARN of a managed policy. One that is gone allows nothing."""
    text = _document(transaction, account, given) if given.startswith("arn:") else given
    return parse(text) if text else _ALLOWS_NOTHING


def _identity(transaction: Transaction, principal: Principal) -> Role | User | None:
    if principal.kind == "assumed-role" and principal.role_arn:
        role = store.find(transaction, Role, principal.account, principal.role_arn.rsplit("/", 1)[1])
        return role if role is not None and role.role_id == principal.role_id else None
    if principal.kind == "federated-user" and principal.assumed_by:
        # A federated user stands in for the user who asked for the session; the session policies narrow it.
        user = store.find(transaction, User, principal.account, principal.assumed_by.rsplit("/", 1)[-1])
        if principal.assumed_by_id is not None:
            is_named_so = user is not None and user.user_id == principal.assumed_by_id
            return user if is_named_so else _moved(transaction, principal.account, principal.assumed_by_id)
        # A session of an earlier release knows the name alone.
        # One who was made under the name since then is somebody else.
        is_same = user is not None and principal.issued_at is not None and user.created_at <= principal.issued_at
        return user if is_same else None
    if principal.user_name is not None:
        user = store.find(transaction, User, principal.account, principal.user_name)
        if user is not None and user.user_id == principal.user_id:
            return user
        if principal.issued_at is None:
            return None  # A key is looked up with its user's name of now.
        # A session knows the name that the user had then.
        return _moved(transaction, principal.account, principal.user_id)
    return None


def _moved(transaction: Transaction, account: str, user_id: str) -> User | None:
    """The user of that id, whatever the name is now."""
    return next((each for each in store.listed(transaction, User, account) if each.user_id == user_id), None)


def _document(transaction: Transaction, account: str, policy_arn: str) -> str | None:
    policy = find_policy(transaction, account, policy_arn)
    return policy.default_document if policy is not None else None


def find_policy(transaction: Transaction, account: str, policy_arn: str) -> Policy | None:
    """A managed policy, AWS's or the account's own; None: there is none of that ARN."""
    if managed.is_aws_managed(policy_arn):
        return managed.find(policy_arn)
    policy = store.find(transaction, Policy, account, policy_arn.rsplit("/", 1)[-1])
    return policy if policy is not None and policy.arn == policy_arn else None


def trust_policy_of(transaction: Transaction, role_arn: str) -> Document | None:
    """None: there is no such role."""
    parts = role_arn.split(":", 5)
    if len(parts) != 6 or not parts[5].startswith("role/"):
        return None
    account, name = parts[4], role_arn.rsplit("/", 1)[1]
    key = (account, store.version(transaction, account), role_arn)
    found = _trusts.get(key)
    if found is None or any(store.version(transaction, other) != version for other, version in found.elsewhere):
        role = store.find(transaction, Role, account, name)
        found = _kept(_trusts, key, _trust(transaction, role) if role and role.arn == role_arn else _Trust(None))
    return found.document


def _trust(transaction: Transaction, role: Role) -> _Trust:
    own, *named = (arn.split(":")[4] for arn in (role.arn, *role.trusted_ids))
    elsewhere = tuple((each, store.version(transaction, each)) for each in {*named} - {own})
    return _Trust(parse(trust_text(transaction, role)), elsewhere)


def trust_text(transaction: Transaction, role: Role) -> str:
    """The trust policy as it holds now: a user or role that was deleted, or made anew, appears as its old unique id.

    Source: IAM user guide, "IAM JSON policy elements: Principal".
    """
    stale = {}
    for arn, unique_id in role.trusted_ids.items():
        if unique_id_of(transaction, arn) != unique_id:
            stale[arn] = unique_id
    return trust_with(role.trust, stale) if stale else role.trust


def unique_id_of(transaction: Transaction, arn: str) -> str | None:
    """The id of a user or role by its ARN, of whichever account; None: there is none."""
    account = arn.split(":")[4]
    kind, _, rest = arn.split(":", 5)[-1].partition("/")
    name = rest.rsplit("/", 1)[-1]
    if kind == "role":
        role = store.find(transaction, Role, account, name)
        return role.role_id if role is not None and role.arn == arn else None
    user = store.find(transaction, User, account, name)
    return user.user_id if user is not None and user.arn == arn else None


def trust_with(text: str, names: Mapping[str, str]) -> str:
    """The trust policy with its AWS principals renamed: old name -> new name."""
    document = msgspec.json.decode(text)
    statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    for statement in statements:
        principal = statement.get("Principal")
        if isinstance(principal, dict) and "AWS" in principal:
            named = principal["AWS"]
            if isinstance(named, list):
                principal["AWS"] = [names.get(each, each) for each in named]
            else:
                principal["AWS"] = names.get(named, named)
    return msgspec.json.encode(document).decode()


def principal_tags(transaction: Transaction, principal: Principal) -> Mapping[str, str]:
    """aws:PrincipalTag: the user's or the role's, overridden by the session's."""
    if principal.kind not in ("user", "assumed-role"):
        return dict(principal.session_tags)
    key = (principal.account, store.version(transaction, principal.account), principal.arn, principal.session_tags)
    found = _tags.get(key)
    if found is None:
        identity = _identity(transaction, principal)
        found = _kept(_tags, key, {**(identity.tags if identity else {}), **dict(principal.session_tags)})
    return found


def role_tags(transaction: Transaction, role_arn: str) -> Mapping[str, str]:
    """aws:ResourceTag, iam:ResourceTag of a role that is to be assumed; none: there is no such role."""
    parts = role_arn.split(":", 5)
    role = store.find(transaction, Role, parts[4], role_arn.rsplit("/", 1)[-1]) if len(parts) == 6 else None
    return role.tags if role is not None and role.arn == role_arn else {}


def _kept(cache: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(cache) >= _CACHED_MAX:
        cache.clear()
    cache[key] = value
    return value


def forget() -> None:
    """Drops all that was compiled; for an account that begins anew with its versions."""
    from longshore.services.iam import identities

    for cache in (_policies, _trusts, _tags):
        cache.clear()
    identities.forget()
