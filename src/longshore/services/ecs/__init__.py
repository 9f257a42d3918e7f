"""ECS: clusters, container instances, task definitions and tasks, and the two streams of the container agent.

Owns: the tables `ecs_*`. Calls: sts (AssumeRole, for the roles of tasks). Hears: "EC2 Instance State-change Notification",
"IAM Role Changed". Emits: "ECS Task State Change", "ECS Container Instance State Change".

The way of a task: an operation writes it down (operations/tasks.py), the stream of its container instance is woken after
the commit (poll.py) and sends it (acs.py), the agent reports (operations/state_changes.py), and lifecycle.py says what a
report means.
"""
