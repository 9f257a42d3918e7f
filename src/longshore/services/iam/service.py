"""The door of IAM."""

from longshore.kit.service import Service
from longshore.services.iam.access import ACCESS
from longshore.services.iam.operations import (
    account,
    account_details,
    accounts,
    attachments,
    devices,
    groups,
    inline_policies,
    instance_profiles,
    last_accessed,
    login_profiles,
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
        account, account_details, login_profiles, devices, last_accessed, simulation,
    ],
    access=ACCESS,
)  # fmt: skip
