"""The instance metadata service at 169.254.169.254: its tree, its tokens, its rules of access.

It owns nothing: the view of an instance comes from EC2's room (`longshore.services.ec2.metadata`), wired in the server.
"""
