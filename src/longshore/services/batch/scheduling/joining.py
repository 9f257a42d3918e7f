"""Whether the instances of a compute environment join its cluster at all. Pure.

Source: AWS Batch user guide, "INVALID compute environment": when none of its instances has joined after a while, the
environment is given up and scaled down. How long the while is AWS does not say; users wait for tens of minutes.
"""

from __future__ import annotations

from longshore.services.batch.records import Instance
from longshore.services.batch.scheduling.snapshot import EnvironmentView, InstanceView, Snapshot


def has_failed(view: EnvironmentView, now: int, *, since: int, join_seconds: int) -> bool:
    """Whether an instance has been up for so long, and not one has joined.

    `now`, and `since` when they are watched, in epoch milliseconds: while the server was away nobody could join.
    """
    moment = deadline(view, since=since, join_seconds=join_seconds)
    return moment is not None and moment <= now


def deadline(view: EnvironmentView, *, since: int, join_seconds: int) -> int | None:
    """When it will be given up, unless an instance joins, in epoch milliseconds. None: nothing is awaited in vain."""
    if not view.managed or view.status != "VALID" or any(has_joined(one) for one in view.instances):
        return None
    launched = [
        one.launched_at
        for one in view.instances
        if one.phase in ("launched", "joined") and one.lasts and one.launched_at is not None
    ]
    return max(since, min(launched)) + 1000 * join_seconds if launched else None


def has_joined(one: InstanceView | Instance) -> bool:
    """Whether it ever took its place. One that could register and may not listen has not."""
    return one.phase == "joined" and (one.connected or one.disconnected_at is not None)


def next_deadline(snapshot: Snapshot, *, since: int, join_seconds: int) -> int | None:
    moments = (deadline(view, since=since, join_seconds=join_seconds) for view in snapshot.environments.values())
    return min((moment for moment in moments if moment is not None), default=None)
