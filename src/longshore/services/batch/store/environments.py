"""Compute environments."""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from longshore.services.batch.records import Environment
from longshore.services.batch.store.names import name_of
from longshore.services.batch.store.tables import environments
from longshore.store.engine import Transaction
from longshore.store.statement import Statement, document

_ENVIRONMENT = msgspec.json.Decoder(Environment)
_ENVIRONMENT_NEW = Statement(insert(environments))
_ENVIRONMENT_SAVE = Statement(
    update(environments)
    .where(environments.c.number == bindparam("b_number"))
    .values(
        cluster_arn=bindparam("b_cluster_arn"), document=bindparam("b_document"), version=environments.c.version + 1
    )
)
_ENVIRONMENT_DELETE = Statement(delete(environments).where(environments.c.number == bindparam("number")))
_ENVIRONMENT_BY_NUMBER = Statement(select(environments.c.document).where(environments.c.number == bindparam("number")))
_ENVIRONMENT_BY_NAME = Statement(
    select(environments.c.document).where(
        environments.c.account == bindparam("account"),
        environments.c.region == bindparam("region"),
        environments.c.name == bindparam("name"),
    )
)
_ENVIRONMENT_BY_CLUSTER = Statement(
    select(environments.c.document).where(environments.c.cluster_arn == bindparam("cluster_arn"))
)
_ENVIRONMENT_PAGE = Statement(
    select(environments.c.document)
    .where(
        environments.c.account == bindparam("account"),
        environments.c.region == bindparam("region"),
        environments.c.name > bindparam("after"),
    )
    .order_by(environments.c.name)
    .limit(bindparam("limit"))
)
_ENVIRONMENTS = Statement(select(environments.c.document).order_by(environments.c.number))
_ENVIRONMENTS_OF_ACCOUNT = Statement(
    select(environments.c.document).where(environments.c.account == bindparam("account"))
)


def insert_environment(tx: Transaction, environment: Environment) -> None:
    tx.run(
        _ENVIRONMENT_NEW,
        number=environment.number,
        account=environment.account,
        region=environment.region,
        name=environment.name,
        cluster_arn=environment.cluster_arn,
        version=1,
        document=document(environment),
    )


def save_environment(tx: Transaction, environment: Environment) -> None:
    tx.known.pop(_ENVIRONMENT_BY_NUMBER, None)
    tx.run(
        _ENVIRONMENT_SAVE,
        b_number=environment.number,
        b_cluster_arn=environment.cluster_arn,
        b_document=document(environment),
    )


def delete_environment(tx: Transaction, number: int) -> None:
    tx.known.pop(_ENVIRONMENT_BY_NUMBER, None)
    tx.run(_ENVIRONMENT_DELETE, number=number)


def environment(tx: Transaction, number: int) -> Environment | None:
    """Read once for all that happens in one commit."""
    known: dict[int, Environment] = tx.known.setdefault(_ENVIRONMENT_BY_NUMBER, {})
    found = known.get(number)
    if found is None:
        row = tx.one(_ENVIRONMENT_BY_NUMBER, number=number)
        if row is not None:
            found = known[number] = _ENVIRONMENT.decode(row[0])
    return found


def environment_named(tx: Transaction, account: str, region: str, name_or_arn: str) -> Environment | None:
    """By name or ARN, of this account and region."""
    name = name_of(account, region, name_or_arn, "compute-environment")
    row = tx.one(_ENVIRONMENT_BY_NAME, account=account, region=region, name=name) if name else None
    return None if row is None else _ENVIRONMENT.decode(row[0])


def environment_of_cluster(tx: Transaction, cluster_arn: str) -> Environment | None:
    row = tx.one(_ENVIRONMENT_BY_CLUSTER, cluster_arn=cluster_arn)
    return None if row is None else _ENVIRONMENT.decode(row[0])


def environments_page(tx: Transaction, account: str, region: str, after: str, limit: int) -> list[Environment]:
    rows = tx.all(_ENVIRONMENT_PAGE, account=account, region=region, after=after, limit=limit)
    return [_ENVIRONMENT.decode(row[0]) for row in rows]


def all_environments(tx: Transaction) -> list[Environment]:
    return [_ENVIRONMENT.decode(row[0]) for row in tx.all(_ENVIRONMENTS)]


def environments_of_account(tx: Transaction, account: str) -> list[Environment]:
    return [_ENVIRONMENT.decode(row[0]) for row in tx.all(_ENVIRONMENTS_OF_ACCOUNT, account=account)]
