"""CloudWatch Logs: groups, streams and what was written to them.

Owns the events of the logs. Calls nobody and hears nobody: agents and services write to it as anyone else does.
"""
