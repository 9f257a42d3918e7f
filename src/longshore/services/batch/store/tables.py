"""Every table of the room. What is here changes with a step in `store/migrate`: older databases are opened."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from longshore.services.batch.records import Status
from longshore.store.statement import METADATA

environments = Table(
    "batch_environments", METADATA,
    Column("number", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("cluster_arn", String, index=True),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("account", "region", "name"),
)  # fmt: skip
queues = Table(
    "batch_queues", METADATA,
    Column("number", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("account", "region", "name"),
)  # fmt: skip
definitions = Table(
    "batch_definitions", METADATA,
    Column("number", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("task_definition_arn", String),  # None: not registered with ECS yet
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("account", "region", "name", "revision"),
)  # fmt: skip
jobs = Table(
    "batch_jobs", METADATA,
    Column("number", Integer, primary_key=True),
    Column("job_id", String, nullable=False),  # tells the number (`job_ids`), so it needs no index
    Column("queue", Integer, nullable=False),  # of an array's child that is not RUNNABLE, its parent, negative
    Column("status", Integer, nullable=False),
    Column("position", Integer, nullable=False),  # the number; negative for a retry, which goes to the front
    Column("cpu", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("definition_arn", String, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("instance", Integer),
    Column("token", String),
    Column("task_arn", String),
    Column("deadline", Integer),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
Index("batch_jobs_in_queue", jobs.c.queue, jobs.c.status, jobs.c.position)
Index("batch_jobs_on_instance", jobs.c.instance, sqlite_where=jobs.c.instance.is_not(None))
Index("batch_jobs_by_task", jobs.c.task_arn, sqlite_where=jobs.c.task_arn.is_not(None))
Index("batch_jobs_by_token", jobs.c.token, sqlite_where=jobs.c.token.is_not(None))
Index("batch_jobs_by_deadline", jobs.c.deadline, sqlite_where=jobs.c.deadline.is_not(None))
Index("batch_jobs_submitted", jobs.c.number, sqlite_where=jobs.c.status == int(Status.SUBMITTED))
bodies = Table(
    "batch_job_bodies", METADATA,
    Column("number", Integer, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
job_tags = Table(
    "batch_job_tags", METADATA,
    Column("number", Integer, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
arrays = Table(  # array jobs: what is known of the children that have no row
    "batch_arrays", METADATA,
    Column("number", Integer, primary_key=True),  # the parent's
    Column("queue", Integer, nullable=False),
    Column("ready", Integer, nullable=False),  # how many are RUNNABLE and have no row
    Column("busy", Integer, nullable=False),  # whether its children are to be gone through
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
Index("batch_arrays_ready", arrays.c.queue, arrays.c.number, sqlite_where=arrays.c.ready > 0)
Index("batch_arrays_busy", arrays.c.number, sqlite_where=arrays.c.busy > 0)
array_links = Table(  # of two arrays (N_TO_N): each child waits for its counterpart
    "batch_array_links", METADATA,
    Column("waits_for", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, index=True),
)  # fmt: skip
child_releases = Table(  # ended children whose successors or counterparts have not all been told
    "batch_child_releases", METADATA,
    Column("number", Integer, primary_key=True),
    Column("succeeded", Integer, nullable=False),
    Column("after", Integer, nullable=False),  # the arrays up to this number have been told
)  # fmt: skip
dependencies = Table(
    "batch_dependencies", METADATA,
    Column("waits_for", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, index=True),
)  # fmt: skip
releases = Table(  # ended jobs whose dependents have not all been told
    "batch_releases", METADATA,
    Column("number", Integer, primary_key=True),
    Column("succeeded", Integer, nullable=False),
)  # fmt: skip
instances = Table(
    "batch_instances", METADATA,
    Column("number", Integer, primary_key=True),
    Column("environment", Integer, nullable=False, index=True),
    Column("token", String, nullable=False, unique=True),
    Column("instance_id", String, index=True),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
intents = Table(
    "batch_intents", METADATA,
    Column("number", Integer, primary_key=True),
    Column("token", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("subject", Integer, nullable=False),
    Column("account", String, nullable=False),
    Column("due_at", Integer, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
Index("batch_intents_by_subject", intents.c.kind, intents.c.subject)
sequences = Table(  # numbers are never given twice, though rows go
    "batch_sequences", METADATA,
    Column("name", String, primary_key=True),
    Column("value", Integer, nullable=False),
)  # fmt: skip
