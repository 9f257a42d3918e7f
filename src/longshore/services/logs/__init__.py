"""CloudWatch Logs: groups, streams and what was written to them.

Owns the events of the logs. Calls nobody and hears nobody: agents and services write to it as anyone else does.

Ours: filter patterns are those of terms (`patterns`); FilterLogEvents gives the oldest events first only; a group's class
and key are recorded and mean nothing; `storedBytes` is 0, as the recordings of AWS have it.
"""
