"""STS: who somebody is, and sessions.

Owns nothing: a session is sealed and describes itself, so that verifying one needs no look-up. Asks iam for the role that
is assumed; is asked by every service that acts under a role.
"""
