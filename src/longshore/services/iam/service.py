"""The door of IAM."""

from longshore.kit.service import Service
from longshore.services.iam.access import ACCESS
from longshore.services.iam.operations import instance_profiles, policies, roles, service_linked_roles, users

SERVICE = Service("iam", operations=[roles, instance_profiles, policies, users, service_linked_roles], access=ACCESS)
