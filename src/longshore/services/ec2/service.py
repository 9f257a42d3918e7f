"""The door of the room of EC2."""

from longshore.kit.service import Service
from longshore.services.ec2 import metadata
from longshore.services.ec2.access import ACCESS
from longshore.services.ec2.loops import InstancesLoop, TerminationsLoop
from longshore.services.ec2.operations import (
    images,
    instance_profiles,
    instance_types,
    instances,
    networks,
    regions,
    tags,
)

SERVICE = Service(
    "ec2",
    operations=[instances, instance_types, images, regions, networks, tags, instance_profiles],
    access=ACCESS,
    loops=[InstancesLoop, TerminationsLoop],
    subscriptions={
        "IAM Role Changed": metadata.on_iam_change,
        "IAM Instance Profile Changed": metadata.on_iam_change,
    },
)
