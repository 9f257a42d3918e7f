"""IAM: users, roles, policies, instance profiles, access keys.

Owns identities and what they may do, and answers the gateway's ports for both (`identities`, `entitlements`). Calls nobody;
emits "IAM Role Changed" and "IAM Instance Profile Changed", so that what was refused is tried again when the reason is gone.
"""
