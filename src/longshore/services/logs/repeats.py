"""What a stream has already: how a batch that comes twice is kept once. Pure.

PutLogEvents has no token by which a repetition would be known; AWS takes `sequenceToken` and looks at it no longer. Our agent
writes into it which bytes of a container's output the batch is made of, and the stream remembers how far it has come:

    longshore/1/WRITER/FROM/TO/SIZE,SIZE,...

FROM and TO count the bytes that the writer had written before the batch's first event and after its last; each SIZE is the
bytes from one event's end to the next one's, so that of a batch which is there in part the rest can be taken: an agent that
starts anew need not cut its batches as the last one did. WRITER is a name that only that container's agent knows, or a job
that may write to the stream could make it pass over another's lines. Every other token means nothing, as at AWS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate

from msgspec import Struct

WRITERS_MAX = 16  # of a stream; who wrote longest ago is forgotten, and its repetitions are kept like anybody's

_FORM = re.compile(r"longshore/1/(?P<writer>[0-9a-f]{32})/(?P<start>\d{1,18})/(?P<end>\d{1,18})/(?P<sizes>[\d,]+)")


class Stretch(Struct, frozen=True):
    """The bytes of a writer's output that a batch is made of."""

    writer: str
    start: int
    end: int
    sizes: str  # of the events, as they came: read only where a part of the batch is there

    def there(self, position: int, count: int) -> int:
        """How many of the batch's `count` events the stream has, whose writer has come to `position`."""
        if position >= self.end:
            return count
        if position <= self.start:
            return 0
        ends = list(accumulate((int(size) for size in self.sizes.split(",") if size), initial=self.start))[1:]
        if len(ends) != count or ends[-1] != self.end:
            return 0
        return sum(end <= position for end in ends)


def stretch(token: str | None) -> Stretch | None:
    """None: the token is none of our agent's."""
    if token is None or not token.startswith("longshore/"):
        return None
    found = _FORM.fullmatch(token)
    if found is None or int(found["start"]) >= int(found["end"]):
        return None
    return Stretch(found["writer"], int(found["start"]), int(found["end"]), found["sizes"])


def moved(positions: Mapping[str, int], batch: Stretch) -> dict[str, int]:
    """How far each writer has come, with this batch; the one that wrote last stands last."""
    others = [(writer, position) for writer, position in positions.items() if writer != batch.writer]
    before = positions.get(batch.writer, 0)
    return dict([*others[-(WRITERS_MAX - 1) :], (batch.writer, max(before, batch.end))])
