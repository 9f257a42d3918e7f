"""The door of the trail's room."""

from longshore.kit.access import Access
from longshore.kit.service import Service
from longshore.services.cloudtrail.operations import events

# Service authorization reference, AWS CloudTrail: LookupEvents has no resource type.
SERVICE = Service("cloudtrail", operations=[events], access={"LookupEvents": Access()})
