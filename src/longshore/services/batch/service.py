"""The door of the room."""

from __future__ import annotations

from longshore.kit.service import Service
from longshore.services.batch.access import ACCESS
from longshore.services.batch.effects import Effects
from longshore.services.batch.loops import Scheduler
from longshore.services.batch.operations import compute_environments, explain, job_definitions, job_queues, jobs, tags
from longshore.services.batch.reactions import SUBSCRIPTIONS

SERVICE = Service(
    "batch",
    operations=[compute_environments, job_queues, job_definitions, jobs, tags, explain],
    access=ACCESS,
    loops=[Scheduler, Effects],
    subscriptions=SUBSCRIPTIONS,
)
