"""Tables and queries of IAM. Names are unique whatever their case: a row's key is the folded name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from longshore.services.iam.records import AccessKey, AccountFacts, Group, InstanceProfile, Policy, Role, Use, User
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement

Entity = TypeVar("Entity", Role, User, Group, InstanceProfile, Policy)
Kept = Role | User | Group | InstanceProfile | Policy


def _entities(name: str) -> Table:
    return Table(
        name,
        METADATA,
        Column("account", String, primary_key=True),
        Column("folded", String, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("document", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


class _Kind:
    """The statements of one table."""

    def __init__(self, table: Table, record: Any) -> None:
        here = (table.c.account == bindparam("b_account"), table.c.folded == bindparam("b_folded"))
        self.find = Statement(select(table.c.document).where(*here))
        self.list = Statement(
            select(table.c.folded, table.c.document)
            .where(table.c.account == bindparam("b_account"), table.c.folded > bindparam("b_after"))
            .order_by(table.c.folded)
        )
        self.add = Statement(
            insert(table).values(
                account=bindparam("b_account"),
                folded=bindparam("b_folded"),
                version=1,
                document=bindparam("b_document"),
            )
        )
        self.save = Statement(
            update(table).where(*here).values(version=table.c.version + 1, document=bindparam("b_document"))
        )
        self.drop = Statement(delete(table).where(*here))
        self.count = Statement(select(func.count()).select_from(table).where(table.c.account == bindparam("b_account")))
        self.decoder = msgspec.json.Decoder(record)


_KINDS: dict[type, _Kind] = {
    Role: _Kind(_entities("iam_roles"), Role),
    User: _Kind(_entities("iam_users"), User),
    Group: _Kind(_entities("iam_groups"), Group),
    InstanceProfile: _Kind(_entities("iam_instance_profiles"), InstanceProfile),
    Policy: _Kind(_entities("iam_policies"), Policy),
}

members = Table(
    "iam_group_members",
    METADATA,
    Column("account", String, primary_key=True),
    Column("group_folded", String, primary_key=True),
    Column("user_folded", String, primary_key=True),
    Index("iam_group_members_user", "account", "user_folded", "group_folded"),
    sqlite_with_rowid=False,
)
access_keys = Table(
    "iam_access_keys",
    METADATA,
    Column("access_key_id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("user_folded", String, nullable=False, index=True),
    Column("document", LargeBinary, nullable=False),
)
versions = Table(
    "iam_versions",
    METADATA,
    Column("account", String, primary_key=True),
    Column("version", Integer, nullable=False),
)

facts = Table(
    "iam_account_facts",
    METADATA,
    Column("account", String, primary_key=True),
    Column("alias", String, index=True),
    Column("document", LargeBinary, nullable=False),
)
# Of each principal and action, and of each key, the last use alone.
uses = Table(
    "iam_uses",
    METADATA,
    Column("account", String, primary_key=True),
    Column("principal_id", String, primary_key=True),
    Column("service", String, primary_key=True),
    Column("action", String, primary_key=True),
    Column("at", Integer, nullable=False),  # epoch milliseconds
    Column("region", String, nullable=False),
    sqlite_with_rowid=False,
)
key_uses = Table(
    "iam_key_uses",
    METADATA,
    Column("access_key_id", String, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("region", String, nullable=False),
    sqlite_with_rowid=False,
)
# What was begun and is asked for by its id: access reports, deletions of service-linked roles.
tasks = Table(
    "iam_tasks",
    METADATA,
    Column("account", String, primary_key=True),
    Column("task_id", String, primary_key=True),
    Column("at", Integer, nullable=False, index=True),  # epoch milliseconds
    Column("document", LargeBinary, nullable=False),
)

_roles = METADATA.tables["iam_roles"]
_ROLES_THAT_SAY = Statement(
    select(_roles.c.account, _roles.c.document).where(
        func.instr(_roles.c.document, bindparam("text", type_=LargeBinary)) > 0
    )
)
_groups, _users = METADATA.tables["iam_groups"], METADATA.tables["iam_users"]
_GROUPS_OF = Statement(
    select(_groups.c.document)
    .join(members, (members.c.account == _groups.c.account) & (members.c.group_folded == _groups.c.folded))
    .where(members.c.account == bindparam("account"), members.c.user_folded == bindparam("user_folded"))
    .order_by(_groups.c.folded)
)
_MEMBERS_OF = Statement(
    select(_users.c.document)
    .join(members, (members.c.account == _users.c.account) & (members.c.user_folded == _users.c.folded))
    .where(members.c.account == bindparam("account"), members.c.group_folded == bindparam("group_folded"))
    .order_by(_users.c.folded)
)
_MEMBERSHIPS = Statement(
    select(members.c.user_folded, members.c.group_folded)
    .where(members.c.account == bindparam("account"))
    .order_by(members.c.user_folded, members.c.group_folded)
)
_HAS_MEMBER = Statement(
    select(members.c.user_folded)
    .where(members.c.account == bindparam("account"), members.c.group_folded == bindparam("group_folded"))
    .limit(1)
)
_JOIN = Statement(
    insert(members).values(
        account=bindparam("account"), group_folded=bindparam("group_folded"), user_folded=bindparam("user_folded")
    )
)
_LEAVE = Statement(
    delete(members).where(
        members.c.account == bindparam("account"),
        members.c.group_folded == bindparam("group_folded"),
        members.c.user_folded == bindparam("user_folded"),
    )
)
_RENAME_GROUP = Statement(
    update(members)
    .where(members.c.account == bindparam("b_account"), members.c.group_folded == bindparam("b_folded"))
    .values(group_folded=bindparam("b_new"))
)
_RENAME_MEMBER = Statement(
    update(members)
    .where(members.c.account == bindparam("b_account"), members.c.user_folded == bindparam("b_folded"))
    .values(user_folded=bindparam("b_new"))
)
_KEY = Statement(
    select(access_keys.c.account, access_keys.c.document).where(
        access_keys.c.access_key_id == bindparam("access_key_id")
    )
)
_KEYS_OF = Statement(
    select(access_keys.c.document)
    .where(access_keys.c.account == bindparam("account"), access_keys.c.user_folded == bindparam("user_folded"))
    .order_by(access_keys.c.access_key_id)
)
_ADD_KEY = Statement(
    insert(access_keys).values(
        access_key_id=bindparam("access_key_id"),
        account=bindparam("account"),
        user_folded=bindparam("user_folded"),
        document=bindparam("document"),
    )
)
_SAVE_KEY = Statement(
    update(access_keys)
    .where(access_keys.c.access_key_id == bindparam("b_access_key_id"))
    .values(user_folded=bindparam("b_user_folded"), document=bindparam("b_document"))
)
_DROP_KEY = Statement(delete(access_keys).where(access_keys.c.access_key_id == bindparam("access_key_id")))
_VERSION = Statement(select(versions.c.version).where(versions.c.account == bindparam("account")))
_SET_VERSION = Statement(
    update(versions).where(versions.c.account == bindparam("b_account")).values(version=bindparam("b_version"))
)
_FIRST_VERSION = Statement(insert(versions).values(account=bindparam("account"), version=bindparam("version")))

_FACTS = Statement(select(facts.c.document).where(facts.c.account == bindparam("account")))
_HAS_ALIAS = Statement(select(facts.c.account).where(facts.c.alias == bindparam("alias")))
_DROP_FACTS = Statement(delete(facts).where(facts.c.account == bindparam("account")))
_ADD_FACTS = Statement(
    insert(facts).values(account=bindparam("account"), alias=bindparam("alias"), document=bindparam("document"))
)


def _newest(table: Table, *keys: str) -> Statement:
    """Keeps a row where there is none, or an older one."""
    statement = insert_or_update(table).values({column.name: bindparam(column.name) for column in table.columns})
    new = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    return Statement(
        statement.on_conflict_do_update(index_elements=keys, set_=new, where=table.c.at <= statement.excluded.at)
    )


_USED = _newest(uses, "account", "principal_id", "service", "action")
_KEY_USED = _newest(key_uses, "access_key_id")
_USE_COLUMNS = (uses.c.at, uses.c.service, uses.c.region, uses.c.principal_id, uses.c.action)
_USES_OF = Statement(
    select(*_USE_COLUMNS).where(
        uses.c.account == bindparam("account"), uses.c.principal_id == bindparam("principal_id")
    )
)
_LAST_USE = Statement(
    select(*_USE_COLUMNS)
    .where(uses.c.account == bindparam("account"), uses.c.principal_id == bindparam("principal_id"))
    .order_by(uses.c.at.desc())
    .limit(1)
)
_FORGET_USES = Statement(
    delete(uses).where(uses.c.account == bindparam("account"), uses.c.principal_id == bindparam("principal_id"))
)
_KEY_USE = Statement(
    select(key_uses.c.at, key_uses.c.service, key_uses.c.region).where(
        key_uses.c.access_key_id == bindparam("access_key_id")
    )
)
_FORGET_KEY_USE = Statement(delete(key_uses).where(key_uses.c.access_key_id == bindparam("access_key_id")))
_TASK = Statement(
    select(tasks.c.document).where(tasks.c.account == bindparam("account"), tasks.c.task_id == bindparam("task_id"))
)
_ADD_TASK = Statement(insert(tasks).values({column.name: bindparam(column.name) for column in tasks.columns}))
_DROP_OLD_TASKS = Statement(delete(tasks).where(tasks.c.at < bindparam("oldest")))
_TASKS_KEPT_MS = (
    7 * 86_400_000
)  # IAM API reference, GenerateServiceLastAccessedDetails: a report is kept for seven days.

_FACTS_DECODER = msgspec.json.Decoder(AccountFacts)
_KEY_DECODER = msgspec.json.Decoder(AccessKey)


def find(transaction: Transaction, kind: type[Entity], account: str, name: str) -> Entity | None:
    """None: there is none of that name. One request asks several times: for its resource, its tags, its answer."""
    statements, folded = _KINDS[kind], name.lower()
    key = kind, account, folded
    found: Entity | None = transaction.known.get(key)
    if found is None:
        row = transaction.one(statements.find, b_account=account, b_folded=folded)
        if row is not None:
            found = transaction.known[key] = statements.decoder.decode(row[0])
    return found


def folded(entity: Kept) -> str:
    """The name by which an entity is kept, and in whose order `listed` gives them."""
    return entity.name.lower()


def listed(transaction: Transaction, kind: type[Entity], account: str) -> list[Entity]:
    """All of a kind, by name."""
    statements = _KINDS[kind]
    rows = transaction.all(statements.list, b_account=account, b_after="")
    return [statements.decoder.decode(document) for _, document in rows]


def roles_that_say(transaction: Transaction, text: str) -> list[tuple[str, Role]]:
    """(account, role): of all accounts those in whose record the text stands."""
    decode = _KINDS[Role].decoder.decode
    return [(account, decode(document)) for account, document in transaction.all(_ROLES_THAT_SAY, text=text.encode())]


def count(transaction: Transaction, kind: type[Kept], account: str) -> int:
    return int(transaction.one(_KINDS[kind].count, b_account=account)[0])


def add(transaction: Transaction, account: str, entity: Kept) -> None:
    transaction.run(
        _KINDS[type(entity)].add,
        b_account=account,
        b_folded=folded(entity),
        b_document=msgspec.json.encode(entity),
    )
    touch(transaction, account)


def save(transaction: Transaction, account: str, entity: Kept) -> None:
    transaction.run(
        _KINDS[type(entity)].save,
        b_account=account,
        b_folded=folded(entity),
        b_document=msgspec.json.encode(entity),
    )
    touch(transaction, account)


def drop(transaction: Transaction, account: str, entity: Kept) -> None:
    transaction.run(_KINDS[type(entity)].drop, b_account=account, b_folded=folded(entity))
    if isinstance(entity, (User, Role)):
        principal_id = entity.user_id if isinstance(entity, User) else entity.role_id
        transaction.run(_FORGET_USES, account=account, principal_id=principal_id)
    touch(transaction, account)


def rename(transaction: Transaction, account: str, old: Kept, new: Kept) -> None:
    """Keeps what was `old` as `new`: under its new name, with its members or its groups."""
    transaction.run(_KINDS[type(old)].drop, b_account=account, b_folded=folded(old))
    add(transaction, account, new)
    statement = {Group: _RENAME_GROUP, User: _RENAME_MEMBER}.get(type(old))
    if statement is not None and folded(old) != folded(new):
        transaction.run(statement, b_account=account, b_folded=folded(old), b_new=folded(new))


def groups_of(transaction: Transaction, account: str, user: User) -> list[Group]:
    """By name."""
    decode = _KINDS[Group].decoder.decode
    rows = transaction.all(_GROUPS_OF, account=account, user_folded=folded(user))
    return [decode(document) for (document,) in rows]


def members_of(transaction: Transaction, account: str, group: Group) -> list[User]:
    """By name."""
    decode = _KINDS[User].decoder.decode
    rows = transaction.all(_MEMBERS_OF, account=account, group_folded=folded(group))
    return [decode(document) for (document,) in rows]


def has_members(transaction: Transaction, account: str, group: Group) -> bool:
    return transaction.one(_HAS_MEMBER, account=account, group_folded=folded(group)) is not None


def memberships(transaction: Transaction, account: str) -> dict[str, list[str]]:
    """Folded user name -> folded names of its groups, both in order; users without a group are not in it."""
    found: dict[str, list[str]] = {}
    for user_folded, group_folded in transaction.all(_MEMBERSHIPS, account=account):
        found.setdefault(user_folded, []).append(group_folded)
    return found


def join(transaction: Transaction, account: str, group: Group, user: User) -> None:
    transaction.run(_JOIN, account=account, group_folded=folded(group), user_folded=folded(user))
    touch(transaction, account)


def leave(transaction: Transaction, account: str, group: Group, user: User) -> bool:
    """False: the user was not in the group."""
    was_in = transaction.run(_LEAVE, account=account, group_folded=folded(group), user_folded=folded(user)) > 0
    touch(transaction, account)
    return was_in


def find_key(transaction: Transaction, access_key_id: str) -> tuple[str, AccessKey] | None:
    """(account, the key)."""
    row = transaction.one(_KEY, access_key_id=access_key_id)
    return (row[0], _KEY_DECODER.decode(row[1])) if row else None


def keys_of(transaction: Transaction, account: str, user_name: str) -> list[AccessKey]:
    rows = transaction.all(_KEYS_OF, account=account, user_folded=user_name.lower())
    return [_KEY_DECODER.decode(document) for (document,) in rows]


def add_key(transaction: Transaction, account: str, key: AccessKey) -> None:
    transaction.run(
        _ADD_KEY,
        access_key_id=key.access_key_id,
        account=account,
        user_folded=key.user_name.lower(),
        document=msgspec.json.encode(key),
    )
    touch(transaction, account)


def save_key(transaction: Transaction, account: str, key: AccessKey) -> None:
    transaction.run(
        _SAVE_KEY,
        b_access_key_id=key.access_key_id,
        b_user_folded=key.user_name.lower(),
        b_document=msgspec.json.encode(key),
    )
    touch(transaction, account)


def drop_key(transaction: Transaction, account: str, key: AccessKey) -> None:
    transaction.run(_DROP_KEY, access_key_id=key.access_key_id)
    transaction.run(_FORGET_KEY_USE, access_key_id=key.access_key_id)
    touch(transaction, account)


def facts_of(transaction: Transaction, account: str) -> AccountFacts:
    row = transaction.one(_FACTS, account=account)
    return _FACTS_DECODER.decode(row[0]) if row else AccountFacts()


def save_facts(transaction: Transaction, account: str, new: AccountFacts) -> None:
    transaction.run(_DROP_FACTS, account=account)
    transaction.run(_ADD_FACTS, account=account, alias=new.alias, document=msgspec.json.encode(new))


def account_of_alias(transaction: Transaction, alias: str) -> str | None:
    row = transaction.one(_HAS_ALIAS, alias=alias)
    return row[0] if row else None


def keep_uses(transaction: Transaction, of_principals: Iterable[tuple[str, Use]], of_keys: Mapping[str, Use]) -> None:
    """(account, use) of principals; key id -> use. What is older than what is known changes nothing."""
    transaction.many(
        _USED,
        [
            {
                "account": account,
                "principal_id": use.principal_id,
                "service": use.service,
                "action": use.action,
                "at": use.at,
                "region": use.region,
            }
            for account, use in of_principals
        ],
    )
    transaction.many(
        _KEY_USED,
        [
            {"access_key_id": key_id, "at": use.at, "service": use.service, "region": use.region}
            for key_id, use in of_keys.items()
        ],
    )


def uses_of(transaction: Transaction, account: str, principal_id: str) -> list[Use]:
    """Of each action that the principal ever called, the last call."""
    rows = transaction.all(_USES_OF, account=account, principal_id=principal_id)
    return [_use(row) for row in rows]


def last_use(transaction: Transaction, account: str, principal_id: str) -> Use | None:
    key = (_LAST_USE, account, principal_id)
    if transaction.writable or key not in transaction.known:  # A commit may change it on its way.
        row = transaction.one(_LAST_USE, account=account, principal_id=principal_id)
        transaction.known[key] = _use(row) if row else None
    found: Use | None = transaction.known[key]
    return found


def _use(row: tuple[int, str, str, str, str]) -> Use:
    at, service, region, principal_id, action = row
    return Use(at=at, service=service, region=region, principal_id=principal_id, action=action)


def last_use_of_key(transaction: Transaction, access_key_id: str) -> Use | None:
    row = transaction.one(_KEY_USE, access_key_id=access_key_id)
    return Use(at=row[0], service=row[1], region=row[2]) if row else None


def find_task(transaction: Transaction, account: str, task_id: str) -> bytes | None:
    row = transaction.one(_TASK, account=account, task_id=task_id)
    return row[0] if row else None


def add_task(transaction: Transaction, account: str, task_id: str, at: int, document: bytes) -> None:
    """Those that nobody may ask for any more go."""
    transaction.run(_DROP_OLD_TASKS, oldest=at - _TASKS_KEPT_MS)
    transaction.run(_ADD_TASK, account=account, task_id=task_id, at=at, document=document)


def version(transaction: Transaction, account: str) -> int:
    """Of all that authorization reads; 0 before the first change. What is cached is cached under it."""
    known: int | None = transaction.known.get((_VERSION, account))
    if known is None:
        row = transaction.one(_VERSION, account=account)
        known = transaction.known[_VERSION, account] = int(row[0]) if row else 0
    return known


_last_version = 0  # the highest that this process has given, to any account of any house


def touch(transaction: Transaction, account: str) -> None:
    """A version that was never given before, not even in a transaction that was rolled back: caches outlive both."""
    global _last_version
    _last_version = max(_last_version, version(transaction, account)) + 1
    if not transaction.run(_SET_VERSION, b_account=account, b_version=_last_version):
        transaction.run(_FIRST_VERSION, account=account, version=_last_version)
    # What was read before the change must not be taken for what is: other requests share the commit.
    transaction.known.clear()
    transaction.known[_VERSION, account] = _last_version
