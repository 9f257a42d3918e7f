"""Instances, and the jobs that have their place on them."""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from longshore.services.batch.records import Instance, Job
from longshore.services.batch.store.rows import JOB
from longshore.services.batch.store.tables import instances, jobs
from longshore.store.engine import Transaction
from longshore.store.statement import Statement, document

_INSTANCE = msgspec.json.Decoder(Instance)
_INSTANCE_NEW = Statement(insert(instances))
_INSTANCE_SAVE = Statement(
    update(instances)
    .where(instances.c.number == bindparam("b_number"))
    .values(instance_id=bindparam("b_instance_id"), document=bindparam("b_document"), version=instances.c.version + 1)
)
_INSTANCE_DELETE = Statement(delete(instances).where(instances.c.number == bindparam("number")))
_INSTANCE_BY_NUMBER = Statement(select(instances.c.document).where(instances.c.number == bindparam("number")))
_INSTANCE_BY_ID = Statement(select(instances.c.document).where(instances.c.instance_id == bindparam("instance_id")))
_INSTANCES_OF = Statement(
    select(instances.c.document).where(instances.c.environment == bindparam("environment")).order_by(instances.c.number)
)
_ON_INSTANCE = Statement(select(jobs.c.document).where(jobs.c.instance == bindparam("instance")))
_USED = Statement(
    select(func.count(), func.sum(jobs.c.cpu), func.sum(jobs.c.memory_mib)).where(
        jobs.c.instance == bindparam("instance")
    )
)
_IS_USED = Statement(select(jobs.c.number).where(jobs.c.instance == bindparam("instance")).limit(1))
_USED_IN_ENVIRONMENT = Statement(
    select(jobs.c.instance, func.count(), func.sum(jobs.c.cpu), func.sum(jobs.c.memory_mib))
    .join(instances, instances.c.number == jobs.c.instance)
    .where(instances.c.environment == bindparam("environment"))
    .group_by(jobs.c.instance)
)


def insert_instance(tx: Transaction, one: Instance) -> None:
    tx.run(
        _INSTANCE_NEW,
        number=one.number,
        environment=one.environment,
        token=one.token,
        instance_id=one.instance_id,
        version=1,
        document=document(one),
    )


def save_instance(tx: Transaction, one: Instance) -> None:
    _known_instances(tx)[one.number] = one
    tx.run(_INSTANCE_SAVE, b_number=one.number, b_instance_id=one.instance_id, b_document=document(one))


def delete_instance(tx: Transaction, number: int) -> None:
    _known_instances(tx).pop(number, None)
    tx.run(_INSTANCE_DELETE, number=number)


def instance(tx: Transaction, number: int) -> Instance | None:
    known = _known_instances(tx)
    found = known.get(number)
    if found is None:
        row = tx.one(_INSTANCE_BY_NUMBER, number=number)
        if row is not None:
            found = known[number] = _INSTANCE.decode(row[0])
    return found


def _known_instances(tx: Transaction) -> dict[int, Instance]:
    """Those that were read in this transaction or snapshot, as they are now: the jobs of one commit share few."""
    known: dict[int, Instance] = tx.known.setdefault(_INSTANCE_BY_NUMBER, {})
    return known


def instance_of_id(tx: Transaction, instance_id: str) -> Instance | None:
    row = tx.one(_INSTANCE_BY_ID, instance_id=instance_id)
    return None if row is None else _INSTANCE.decode(row[0])


def instances_of(tx: Transaction, environment_number: int) -> list[Instance]:
    return [_INSTANCE.decode(row[0]) for row in tx.all(_INSTANCES_OF, environment=environment_number)]


def jobs_on_instance(tx: Transaction, instance_number: int) -> list[Job]:
    return [JOB.decode(row[0]) for row in tx.all(_ON_INSTANCE, instance=instance_number)]


def used_on_instance(tx: Transaction, instance_number: int) -> tuple[int, int, int]:
    """(jobs, CPU units, memory in MiB) that have their place on the instance."""
    count, cpu, memory = tx.one(_USED, instance=instance_number)
    return int(count), int(cpu or 0), int(memory or 0)


def is_used(tx: Transaction, instance_number: int) -> bool:
    """Whether any job has its place on the instance."""
    return tx.one(_IS_USED, instance=instance_number) is not None


def used_in_environment(tx: Transaction, environment_number: int) -> dict[int, tuple[int, int, int]]:
    """Number of an instance of the environment -> the same; those without a job are left out."""
    rows = tx.all(_USED_IN_ENVIRONMENT, environment=environment_number)
    return {int(number): (int(count), int(cpu), int(memory)) for number, count, cpu, memory in rows}
