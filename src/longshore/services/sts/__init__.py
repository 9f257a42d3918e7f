"""STS: who somebody is, and sessions.

Owns nothing: a session is sealed and describes itself, so that verifying one needs no look-up. Asks iam for the role that
is assumed; is asked by every service that acts under a role.

AWS's: trust and identity decide together, durations, chains, tags, texts where AWS's are known.
Ours: PackedPolicySize is the deflated length of policies and tags; the texts by which federated users are refused a role and a
source identity is kept from changing; the root user's sessions are cut to an hour as AWS cuts them, without a word.
"""
