"""Tables and queries of instances, of the recorded network, of tags and of client tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from longshore.services.ec2.records import Instance, SecurityGroup, Subnet, Vpc
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement, document

instances = Table(
    "ec2_instances",
    METADATA,
    Column("key", Integer, primary_key=True, autoincrement=True),  # the order of launching
    Column("instance_id", String, nullable=False, unique=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("state", String, nullable=False),
    Column("instance_type", String, nullable=False),
    Column("reservation_id", String, nullable=False),
    # Unique among the living of all accounts: machines share one wire. NULL once terminated.
    Column("private_ip", String, nullable=True, unique=True),
    Column("ended_at", Integer, nullable=True),  # epoch milliseconds
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("ec2_instances_place", instances.c.account, instances.c.region, instances.c.key)
Index("ec2_instances_state", instances.c.state)
Index("ec2_instances_reservation", instances.c.reservation_id)
resources = Table(
    "ec2_resources",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("kind", String, primary_key=True),  # vpc, subnet, security-group
    Column("resource_id", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
# The accounts and regions whose default network has been written down; until then it is only implied.
settled = Table(
    "ec2_settled",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
)
tags = Table(
    "ec2_tags",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("resource_id", String, primary_key=True),
    Column("tag_key", String, primary_key=True),
    Column("tag_value", String, nullable=False),
)
tokens = Table(
    "ec2_client_tokens",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("token", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("reservation_id", String, nullable=False),
    Column("used_at", Integer, nullable=False),  # epoch milliseconds
)
consoles = Table(
    "ec2_consoles",
    METADATA,
    Column("instance_id", String, primary_key=True),
    Column("posted_at", Integer, nullable=False),  # epoch milliseconds
    Column("output", LargeBinary, nullable=False),
    UniqueConstraint("instance_id"),
)

_PLACE = (instances.c.account == bindparam("account"), instances.c.region == bindparam("region"))
_ADD = Statement(
    insert(instances).values(
        instance_id=bindparam("instance_id"),
        account=bindparam("account"),
        region=bindparam("region"),
        state=bindparam("state"),
        instance_type=bindparam("instance_type"),
        reservation_id=bindparam("reservation_id"),
        private_ip=bindparam("private_ip"),
        version=1,
        document=bindparam("document"),
    )
)
_SAVE = Statement(
    update(instances)
    .where(instances.c.instance_id == bindparam("b_instance_id"))
    .values(
        state=bindparam("b_state"),
        private_ip=bindparam("b_private_ip"),
        ended_at=bindparam("b_ended_at"),
        version=instances.c.version + 1,
        document=bindparam("b_document"),
    )
)
_FIND = Statement(select(instances.c.document).where(instances.c.instance_id == bindparam("instance_id")))
_FIND_BY_IP = Statement(select(instances.c.document).where(instances.c.private_ip == bindparam("private_ip")))
_ALL = Statement(
    select(instances.c.key, instances.c.document)
    .where(*_PLACE, instances.c.key > bindparam("after"))
    .order_by(instances.c.key)
)
_IN_RESERVATION = Statement(
    select(instances.c.document)
    .where(instances.c.reservation_id == bindparam("reservation_id"), *_PLACE)
    .order_by(instances.c.key)
)
_IN_STATE = Statement(
    select(instances.c.document).where(instances.c.state == bindparam("state")).order_by(instances.c.key)
)
_TYPES_OF_LIVING = Statement(select(instances.c.instance_type).where(instances.c.private_ip.is_not(None)))
_IPS = Statement(select(instances.c.private_ip).where(instances.c.private_ip.is_not(None)))
_ENDED = Statement(
    select(instances.c.document).where(instances.c.ended_at <= bindparam("before")).order_by(instances.c.key)
)
_OLDEST_END = Statement(
    select(instances.c.ended_at).where(instances.c.ended_at.is_not(None)).order_by(instances.c.ended_at).limit(1)
)
_DROP = Statement(delete(instances).where(instances.c.instance_id == bindparam("instance_id")))

_RESOURCE_KEY = (
    resources.c.account == bindparam("account"),
    resources.c.region == bindparam("region"),
    resources.c.kind == bindparam("kind"),
)
_ADD_RESOURCE = Statement(
    insert(resources).values(
        account=bindparam("account"),
        region=bindparam("region"),
        kind=bindparam("kind"),
        resource_id=bindparam("resource_id"),
        version=1,
        document=bindparam("document"),
    )
)
_RESOURCES = Statement(select(resources.c.document).where(*_RESOURCE_KEY).order_by(resources.c.resource_id))
_DROP_RESOURCE = Statement(delete(resources).where(*_RESOURCE_KEY, resources.c.resource_id == bindparam("resource_id")))
_SETTLED = Statement(
    select(settled.c.account).where(settled.c.account == bindparam("account"), settled.c.region == bindparam("region"))
)
_SETTLE = Statement(insert(settled).values(account=bindparam("account"), region=bindparam("region")))

_TAGS = Statement(
    select(tags.c.resource_id, tags.c.tag_key, tags.c.tag_value)
    .where(tags.c.account == bindparam("account"), tags.c.region == bindparam("region"))
    .order_by(tags.c.resource_id, tags.c.tag_key)
)
_TAGS_OF = Statement(
    select(tags.c.tag_key, tags.c.tag_value)
    .where(
        tags.c.account == bindparam("account"),
        tags.c.region == bindparam("region"),
        tags.c.resource_id == bindparam("resource_id"),
    )
    .order_by(tags.c.tag_key)
)
_PUT_TAG = Statement(
    insert(tags)
    .prefix_with("OR REPLACE")
    .values(
        account=bindparam("account"),
        region=bindparam("region"),
        resource_id=bindparam("resource_id"),
        tag_key=bindparam("tag_key"),
        tag_value=bindparam("tag_value"),
    )
)
_TAG_KEY = (
    tags.c.account == bindparam("account"),
    tags.c.region == bindparam("region"),
    tags.c.resource_id == bindparam("resource_id"),
)
_DROP_TAG = Statement(delete(tags).where(*_TAG_KEY, tags.c.tag_key == bindparam("tag_key")))
_DROP_TAGS = Statement(delete(tags).where(*_TAG_KEY))

_TOKEN = Statement(
    select(tokens.c.digest, tokens.c.reservation_id).where(
        tokens.c.account == bindparam("account"),
        tokens.c.region == bindparam("region"),
        tokens.c.token == bindparam("token"),
    )
)
_ADD_TOKEN = Statement(
    insert(tokens).values(
        account=bindparam("account"),
        region=bindparam("region"),
        token=bindparam("token"),
        digest=bindparam("digest"),
        reservation_id=bindparam("reservation_id"),
        used_at=bindparam("used_at"),
    )
)
_DROP_TOKENS = Statement(delete(tokens).where(tokens.c.used_at <= bindparam("before")))

_POST = Statement(
    insert(consoles)
    .prefix_with("OR REPLACE")
    .values(instance_id=bindparam("instance_id"), posted_at=bindparam("posted_at"), output=bindparam("output"))
)
_CONSOLE = Statement(
    select(consoles.c.posted_at, consoles.c.output).where(consoles.c.instance_id == bindparam("instance_id"))
)
_DROP_CONSOLE = Statement(delete(consoles).where(consoles.c.instance_id == bindparam("instance_id")))

_INSTANCE = msgspec.json.Decoder(Instance)
Resource = Vpc | Subnet | SecurityGroup
R = TypeVar("R", Vpc, Subnet, SecurityGroup)
_KINDS: dict[type[Vpc] | type[Subnet] | type[SecurityGroup], str] = {
    Vpc: "vpc",
    Subnet: "subnet",
    SecurityGroup: "security-group",
}


def add(transaction: Transaction, instance: Instance) -> None:
    transaction.run(
        _ADD,
        instance_id=instance.instance_id,
        account=instance.account,
        region=instance.region,
        state=instance.state,
        instance_type=instance.instance_type,
        reservation_id=instance.reservation_id,
        private_ip=instance.private_ip,
        document=document(instance),
    )


def save(transaction: Transaction, instance: Instance) -> None:
    """Keeps the changed instance; a terminated one gives its address free."""
    transaction.run(
        _SAVE,
        b_instance_id=instance.instance_id,
        b_state=instance.state,
        b_private_ip=instance.private_ip if instance.is_living else None,
        b_ended_at=instance.ended_at_ms,
        b_document=document(instance),
    )


def find(transaction: Transaction, instance_id: str) -> Instance | None:
    """In whatever account and region: for the loops. Operations use `find_in`."""
    row = transaction.one(_FIND, instance_id=instance_id)
    return _INSTANCE.decode(row[0]) if row is not None else None


def find_in(transaction: Transaction, account: str, region: str, instance_id: str) -> Instance | None:
    instance = find(transaction, instance_id)
    if instance is None or instance.account != account or instance.region != region:
        return None
    return instance


def find_by_private_ip(transaction: Transaction, private_ip: str) -> Instance | None:
    """The living instance of that address."""
    row = transaction.one(_FIND_BY_IP, private_ip=private_ip)
    return _INSTANCE.decode(row[0]) if row is not None else None


def list_all(transaction: Transaction, account: str, region: str, after: int = 0) -> list[tuple[int, Instance]]:
    """(place, instance) in the order of launching, from behind the place `after`."""
    rows = transaction.all(_ALL, account=account, region=region, after=after)
    return [(key, _INSTANCE.decode(body)) for key, body in rows]


def in_reservation(transaction: Transaction, account: str, region: str, reservation_id: str) -> list[Instance]:
    rows = transaction.all(_IN_RESERVATION, account=account, region=region, reservation_id=reservation_id)
    return [_INSTANCE.decode(body) for (body,) in rows]


def in_state(transaction: Transaction, state: str) -> list[Instance]:
    """Of all accounts and regions, the oldest first."""
    return [_INSTANCE.decode(body) for (body,) in transaction.all(_IN_STATE, state=state)]


def types_of_living(transaction: Transaction) -> list[str]:
    """The instance type of every living instance of the house: what the machine has promised."""
    return [name for (name,) in transaction.all(_TYPES_OF_LIVING)]


def private_ips(transaction: Transaction) -> set[str]:
    return {address for (address,) in transaction.all(_IPS)}


def forget_ended(transaction: Transaction, before_ms: int) -> list[Instance]:
    """Drops the instances that ended until then, with tags and console; what was dropped."""
    found = [_INSTANCE.decode(body) for (body,) in transaction.all(_ENDED, before=before_ms)]
    for instance in found:
        transaction.run(_DROP, instance_id=instance.instance_id)
        transaction.run(_DROP_CONSOLE, instance_id=instance.instance_id)
        drop_tags(transaction, instance.account, instance.region, instance.instance_id)
    return found


def oldest_end_ms(transaction: Transaction) -> int | None:
    row = transaction.one(_OLDEST_END)
    return int(row[0]) if row is not None else None


def add_resource(transaction: Transaction, account: str, region: str, resource_id: str, resource: Resource) -> None:
    transaction.run(
        _ADD_RESOURCE,
        account=account,
        region=region,
        kind=_KINDS[type(resource)],
        resource_id=resource_id,
        document=document(resource),
    )


def list_resources(transaction: Transaction, account: str, region: str, kind: type[R]) -> list[R]:
    rows = transaction.all(_RESOURCES, account=account, region=region, kind=_KINDS[kind])
    return [msgspec.json.decode(body, type=kind) for (body,) in rows]


def drop_resource(
    transaction: Transaction,
    account: str,
    region: str,
    kind: type[Vpc] | type[Subnet] | type[SecurityGroup],
    resource_id: str,
) -> None:
    transaction.run(_DROP_RESOURCE, account=account, region=region, kind=_KINDS[kind], resource_id=resource_id)
    drop_tags(transaction, account, region, resource_id)


def is_settled(transaction: Transaction, account: str, region: str) -> bool:
    return transaction.one(_SETTLED, account=account, region=region) is not None


def settle(transaction: Transaction, account: str, region: str) -> None:
    transaction.run(_SETTLE, account=account, region=region)


def list_tags(transaction: Transaction, account: str, region: str) -> dict[str, dict[str, str]]:
    """resource id -> its tags, of all resources."""
    found: dict[str, dict[str, str]] = {}
    for resource_id, key, value in transaction.all(_TAGS, account=account, region=region):
        found.setdefault(resource_id, {})[key] = value
    return found


def tags_of(transaction: Transaction, account: str, region: str, resource_id: str) -> dict[str, str]:
    return dict(transaction.all(_TAGS_OF, account=account, region=region, resource_id=resource_id))


def put_tags(transaction: Transaction, account: str, region: str, resource_id: str, given: Mapping[str, str]) -> None:
    for key, value in given.items():
        transaction.run(_PUT_TAG, account=account, region=region, resource_id=resource_id, tag_key=key, tag_value=value)


def drop_tags(
    transaction: Transaction, account: str, region: str, resource_id: str, keys: Iterable[str] | None = None
) -> None:
    """`keys` None: all of them."""
    if keys is None:
        transaction.run(_DROP_TAGS, account=account, region=region, resource_id=resource_id)
        return
    for key in keys:
        transaction.run(_DROP_TAG, account=account, region=region, resource_id=resource_id, tag_key=key)


def find_token(transaction: Transaction, account: str, region: str, token: str) -> tuple[str, str] | None:
    """(digest of the request, reservation id) of the launch that used the token."""
    row = transaction.one(_TOKEN, account=account, region=region, token=token)
    return (row[0], row[1]) if row is not None else None


def add_token(
    transaction: Transaction,
    account: str,
    region: str,
    token: str,
    *,
    digest: str,
    reservation_id: str,
    used_at_ms: int,
) -> None:
    transaction.run(
        _ADD_TOKEN,
        account=account,
        region=region,
        token=token,
        digest=digest,
        reservation_id=reservation_id,
        used_at=used_at_ms,
    )


def forget_tokens(transaction: Transaction, before_ms: int) -> None:
    transaction.run(_DROP_TOKENS, before=before_ms)


def post_console(transaction: Transaction, instance_id: str, output: bytes, posted_at_ms: int) -> None:
    transaction.run(_POST, instance_id=instance_id, output=output, posted_at=posted_at_ms)


def console(transaction: Transaction, instance_id: str) -> tuple[int, bytes] | None:
    """(epoch milliseconds of the posting, output). None: nothing was posted yet."""
    row = transaction.one(_CONSOLE, instance_id=instance_id)
    return (int(row[0]), bytes(row[1])) if row is not None else None
