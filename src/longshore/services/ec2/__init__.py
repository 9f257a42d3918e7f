"""EC2, as far as Batch and ECS ask: instances with a real life, images, types, and a network that is only recorded.

Owns: instances, their tags, VPCs, subnets, security groups (inert records: machines enforce no network), client tokens.
Calls: iam.GetInstanceProfile and sts.AssumeRole, as ec2.amazonaws.com.
Emits: "EC2 Instance State-change Notification".
Hears: "IAM Role Changed", "IAM Instance Profile Changed".
Ports: `machines` (a kind of machine, `machines/base.py`), `imds` (`metadata.MetadataService`).

AWS's: states, fields, filters, texts and codes of what is offered; the questions that a launch asks.
Ours: what a kind of machine can carry bounds launches (`InsufficientInstanceCapacity`); images say what starts at boot, and
have ids made from their names; a network is recorded and enforces nothing; the console is posted on while an instance
lives; there are no key pairs, launch templates or volumes, so none that is named exists.
"""
