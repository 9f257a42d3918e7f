"""Users, their keys, and who they are when they name nobody."""

from __future__ import annotations

from people import Person, allow, document, trust
from refusals import refused, unchecked


def test_a_user_shows_itself_to_itself(house, person) -> None:
    anna = person("anna")
    anna.may(allow("iam:GetUser", "arn:aws:iam::123456789012:user/${aws:username}"))
    iam = anna.client("iam")
    assert iam.get_user()["User"]["UserName"] == "anna"
    assert iam.get_user(UserName="anna")["User"]["UserId"] == anna.user["UserId"]
    person("bert")
    with refused("AccessDenied", status=403):
        iam.get_user(UserName="bert")
    root = house.client("iam").get_user()["User"]
    assert root["Arn"] == "arn:aws:iam::123456789012:root" and root["UserId"] == "123456789012"


def test_a_session_of_a_role_must_name_whom_it_means(house) -> None:
    iam = house.client("iam")
    anna = Person(house, "anna")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": anna.arn}))
    iam.attach_role_policy(RoleName="ops", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    role = "arn:aws:iam::123456789012:role/ops"
    given = anna.client("sts").assume_role(RoleArn=role, RoleSessionName="se")["Credentials"]
    session = house.client("iam", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    message = "Must specify userName when calling with non-User credentials"
    for call in (session.get_user, session.list_access_keys, session.create_access_key):
        with refused("ValidationError", message, status=400):
            call()
    assert session.get_user(UserName="anna")["User"]["Arn"] == anna.arn


def test_a_user_goes_only_when_nothing_hangs_on_it(house, person) -> None:
    anna = person("anna")
    anna.may(allow("s3:*"))
    iam = house.client("iam")
    with refused("DeleteConflict", "Cannot delete entity, must delete access keys first.", status=409):
        iam.delete_user(UserName="anna")
    iam.delete_access_key(UserName="anna", AccessKeyId=anna.key["AccessKeyId"])
    with refused("DeleteConflict", "Cannot delete entity, must delete policies first.", status=409):
        iam.delete_user(UserName="anna")
    iam.delete_user_policy(UserName="anna", PolicyName="given")
    iam.attach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    with refused("DeleteConflict", "Cannot delete entity, must detach all policies first.", status=409):
        iam.delete_user(UserName="anna")
    iam.detach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.delete_user(UserName="anna")
    with refused("InvalidClientTokenId", status=403):
        anna.client("sts").get_caller_identity()


def test_keys_are_two_at_most_and_their_secret_is_shown_once(house, person) -> None:
    anna = person("anna")
    iam = house.client("iam")
    second = iam.create_access_key(UserName="anna")["AccessKey"]
    assert set(second) == {"UserName", "AccessKeyId", "Status", "SecretAccessKey", "CreateDate"}
    assert second["AccessKeyId"].startswith("AKIA") and len(second["AccessKeyId"]) == 20
    assert len(second["SecretAccessKey"]) == 40
    with refused("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2", status=409):
        iam.create_access_key(UserName="anna")
    keys = iam.list_access_keys(UserName="anna")["AccessKeyMetadata"]
    assert {each["AccessKeyId"] for each in keys} == {anna.key["AccessKeyId"], second["AccessKeyId"]}
    assert all("SecretAccessKey" not in each for each in keys)
    with refused("NoSuchEntity", "The Access Key with id AKIAGONEGONEGONEGONE cannot be found.", status=404):
        iam.delete_access_key(UserName="anna", AccessKeyId="AKIAGONEGONEGONEGONE")


def test_a_key_that_is_off_or_gone_opens_nothing(house, person) -> None:
    anna = person("anna")
    iam, sts = house.client("iam"), anna.client("sts")
    batch = anna.client("batch")
    key = anna.key["AccessKeyId"]
    assert sts.get_caller_identity()["Arn"] == anna.arn
    iam.update_access_key(UserName="anna", AccessKeyId=key, Status="Inactive")
    with refused("InvalidClientTokenId", "The security token included in the request is invalid.", status=403):
        sts.get_caller_identity()
    with refused("UnrecognizedClientException", "The security token included in the request is invalid."):
        batch.describe_job_queues()
    iam.update_access_key(UserName="anna", AccessKeyId=key, Status="Active")
    assert sts.get_caller_identity()["UserId"] == anna.user["UserId"]
    iam.delete_access_key(UserName="anna", AccessKeyId=key)
    with refused("InvalidClientTokenId", status=403):
        sts.get_caller_identity()


def test_an_unknown_status_is_refused_without_its_value(house, person) -> None:
    anna = person("anna")
    message = (
        "1 validation error detected: Value at 'status' failed to satisfy constraint: "
        "Member must satisfy enum value set"
    )
    with refused("ValidationError", message, status=400):
        unchecked(house.client("iam")).update_access_key(
            UserName="anna", AccessKeyId=anna.key["AccessKeyId"], Status="Sleepy"
        )


def test_a_user_has_less_room_than_a_role(house, person) -> None:
    person("anna")
    iam = house.client("iam")
    text = document(allow("s3:GetObject", [f"arn:aws:s3:::bucket/{index:040d}" for index in range(40)]))
    with refused("LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user anna", status=409):
        iam.put_user_policy(UserName="anna", PolicyName="p", PolicyDocument=text)


def test_users_have_tags_and_pages(house) -> None:
    iam = house.client("iam")
    for name in ("carl", "anna", "Bert"):
        iam.create_user(UserName=name, Tags=[{"Key": "k", "Value": name}])
    assert [each["UserName"] for each in iam.list_users()["Users"]] == ["anna", "Bert", "carl"]
    first = iam.list_users(MaxItems=1)
    assert [each["UserName"] for each in iam.list_users(Marker=first["Marker"])["Users"]] == ["Bert", "carl"]
    assert "Tags" not in first["Users"][0]
    assert iam.get_user(UserName="bert")["User"]["Tags"] == [{"Key": "k", "Value": "Bert"}]
    assert iam.list_user_tags(UserName="anna")["Tags"] == [{"Key": "k", "Value": "anna"}]
