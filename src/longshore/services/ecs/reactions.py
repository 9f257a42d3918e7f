"""What the room hears: an instance that is said to be gone takes its tasks with it; a role that may poll no longer, its
streams.

Only the instance's own machine may say that it is gone (architecture, "Who may end an attempt"); a silent agent says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.services.ecs import changes, store, streams
from longshore.services.ecs.references import place

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.event import Event


def on_instance_state_change(call: Call, event: Event) -> None:
    """EC2 user guide, "State change events": detail {"instance-id", "state"}. Heard again, it finds nothing to do."""
    if event.detail.get("state") != "terminated":
        return
    for standing in store.instances_of_ec2(place(call), event.detail["instance-id"]):
        changes.instance_gone(call, standing)


def on_role_change(call: Call, event: Event) -> None:
    """IAM's own event: the role's policies, boundary or trust have changed, or it is gone."""
    call.after_commit(lambda: streams.doubt(call.house, event.account))
