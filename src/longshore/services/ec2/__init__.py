"""EC2, as far as Batch and ECS ask: instances with a real life, images, types, and a network that is only recorded.

Owns: instances, their tags, VPCs, subnets, security groups (inert records: machines enforce no network), client tokens.
Calls: iam.GetInstanceProfile and sts.AssumeRole, as ec2.amazonaws.com.
Emits: "EC2 Instance State-change Notification".
Hears: "IAM Role Changed", "IAM Instance Profile Changed".
Ports: `machines` (a kind of machine, `machines/base.py`), `imds` (`metadata.MetadataService`).
"""
