"""The door of IAM."""

from longshore.kit.service import Service
from longshore.services.iam.access import ACCESS
from longshore.services.iam.operations import (
    accounts,
    instance_profiles,
    policies,
    roles,
    service_linked_roles,
    users,
)

SERVICE = Service(
    "iam",
    operations=[accounts, roles, instance_profiles, policies, users, service_linked_roles],
    access=ACCESS,
)
