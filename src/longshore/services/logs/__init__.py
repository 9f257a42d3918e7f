"""CloudWatch Logs: groups, streams, events.

Owns them. Calls nobody, emits nothing.

Ours: what a group's retention has passed is no longer shown, and stays on the disk until its group or stream is deleted;
filter patterns are those of terms (`patterns`); FilterLogEvents gives the oldest events first only; a group's class and key
are recorded and mean nothing.
"""
