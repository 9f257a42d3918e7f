"""A session ends with whom it stands for: what is left of it does nothing. It may still ask who it is, as everybody."""

from __future__ import annotations

from people import allow
from refusals import refused


def test_a_users_sessions_end_with_the_user_and_do_not_come_back_with_the_name(house, person, client_of) -> None:
    anna = person("anna")
    anna.may(allow("*"))
    answer = anna.client("sts").get_session_token()
    batch, ecs = client_of(answer, "batch"), client_of(answer, "ecs")
    batch.describe_job_queues()
    iam = house.client("iam")
    for key in iam.list_access_keys(UserName="anna")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="anna", AccessKeyId=key["AccessKeyId"])
    for name in iam.list_user_policies(UserName="anna")["PolicyNames"]:
        iam.delete_user_policy(UserName="anna", PolicyName=name)
    iam.delete_user(UserName="anna")
    for _ in range(2):
        with refused("AccessDeniedException", status=403):
            batch.describe_job_queues()
        with refused("AccessDeniedException", status=400):
            ecs.list_clusters()
        # Another of the same name, who may do everything.
        if not any(each["UserName"] == "anna" for each in iam.list_users()["Users"]):
            person("anna").may(allow("*"))
