"""The door of IAM."""

from longshore.kit.service import Service
from longshore.services.iam.access import ACCESS
from longshore.services.iam.operations import (
    account_details,
    accounts,
    attachments,
    groups,
    inline_policies,
    instance_profiles,
    policies,
    roles,
    service_linked_roles,
    simulation,
    users,
)

SERVICE = Service(
    "iam",
    operations=[
        accounts, users, groups, roles, instance_profiles, policies, attachments, inline_policies, service_linked_roles,
        account_details, simulation,
    ],
    access=ACCESS,
)  # fmt: skip
