"""AWS Batch: compute environments, job queues, job definitions, jobs.

Owns those records, the scheduler and the intents that its effects loop carries out. Calls ec2 (instances), ecs (clusters,
task definitions, tasks), logs (the group /aws/batch/job), iam (roles and profiles, to check and to explain). Emits
"Batch Job State Change" and "Batch Job Queue Blocked". Hears tasks, container instances, instances, refused calls, and
changes of roles.
"""
