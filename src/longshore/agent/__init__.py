"""The container agent: a program of its own on every container instance, which knows the server by its API only.

It owns the containers of its instance and what it has still to report of them. It calls ECS (registration, reports, the
agent's two streams), CloudWatch Logs, and the instance metadata service, with the instance role's credentials, in the
protocol of the original amazon-ecs-agent.
"""
