"""The door of the room of CloudWatch Logs."""

from longshore.kit.service import Service
from longshore.services.logs.access import ACCESS
from longshore.services.logs.loops import RetentionLoop
from longshore.services.logs.operations import events, groups, streams

SERVICE = Service("logs", operations=[groups, streams, events], access=ACCESS, loops=[RetentionLoop])
