"""What a retention policy has passed goes from the disk."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from longshore.aws.clock import milliseconds
from longshore.kit.house import House
from longshore.services.logs import rules, store

# API reference, PutRetentionPolicy: events are deleted some time after they expire. Readers see them no longer at once.
_EVERY = timedelta(hours=1)


class RetentionLoop:
    name = "logs.retention"

    async def tick(self, house: House, now: datetime) -> datetime | None:
        for group in house.store.read(store.every_group):
            before = rules.oldest_kept_ms(milliseconds(now), group.retention_days)
            if before:
                await house.store.write(partial(store.drop_events_before, group=group, before_ms=before))
        return now + _EVERY
