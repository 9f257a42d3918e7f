"""The door of the room."""

from __future__ import annotations

from longshore.kit.service import Service
from longshore.services.ecs import poll
from longshore.services.ecs.access import ACCESS
from longshore.services.ecs.loops import Housekeeping
from longshore.services.ecs.operations import (
    account_settings,
    attributes,
    clusters,
    container_instances,
    services,
    state_changes,
    tags,
    task_definitions,
    tasks,
)  # fmt: skip
from longshore.services.ecs.reactions import on_instance_state_change, on_role_change

SERVICE = Service(
    "ecs",
    operations=[
        clusters, task_definitions, container_instances, tasks, state_changes, tags, attributes, account_settings,
        services, poll,
    ],
    access=ACCESS,
    loops=[Housekeeping],
    subscriptions={
        "EC2 Instance State-change Notification": on_instance_state_change,
        "IAM Role Changed": on_role_change,
        "IAM Account Changed": on_role_change,
    },
)  # fmt: skip
