"""The instance metadata service at 169.254.169.254: its tree, its tokens, its rules of access.

It owns nothing: the view of an instance comes from EC2's room (`longshore.services.ec2.metadata`), wired in the server.

AWS's: headers, statuses, listings, documents, codes of a role's faults, rotation an hour after and long before the end.
Ours: tokens end with the server's life; no `pkcs7` and `rsa2048` beside `signature`; the key that signs is the house's own.
"""
