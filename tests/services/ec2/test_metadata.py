"""What the metadata service tells an instance of its role: credentials that work, rotate, fail and heal."""

from __future__ import annotations

from datetime import datetime, timedelta

from people import EC2_TRUST, allow, document
from refusals import refused

ACCOUNT = "123456789012"
CREDENTIALS = "meta-data/iam/security-credentials"


def client_of(house, credentials, service):
    return house.client(service, credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["Token"])


def when(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_an_instance_with_a_profile_gets_credentials_of_its_role(house, launch, profile, metadata) -> None:
    arn = profile("worker")
    instance_id = launch(IamInstanceProfile={"Name": "worker"})["InstanceId"]
    info = metadata(instance_id, "meta-data/iam/info")
    assert set(info) == {"Code", "LastUpdated", "InstanceProfileArn", "InstanceProfileId"}
    assert info["Code"] == "Success" and info["InstanceProfileArn"] == arn
    assert info["InstanceProfileId"].startswith("AIPA")
    assert metadata(instance_id, f"{CREDENTIALS}/") == "worker"
    given = metadata(instance_id, f"{CREDENTIALS}/worker")
    assert set(given) == {"Code", "LastUpdated", "Type", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert (given["Code"], given["Type"]) == ("Success", "AWS-HMAC")
    assert when(given["Expiration"]) - when(given["LastUpdated"]) == timedelta(hours=6)
    who = client_of(house, given, "sts").get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/{instance_id}"
    assert metadata(instance_id, f"{CREDENTIALS}/another") is None


def test_without_a_profile_there_is_no_iam_branch(launch, metadata) -> None:
    instance_id = launch()["InstanceId"]
    for path in ("meta-data/iam/", "meta-data/iam/info", f"{CREDENTIALS}/", f"{CREDENTIALS}/worker"):
        assert metadata(instance_id, path) is None
    assert "iam/" not in metadata(instance_id, "meta-data/").splitlines()


def test_credentials_are_renewed_before_their_end_and_old_ones_stay_valid(house, launch, profile, metadata) -> None:
    profile("worker")
    instance_id = launch(IamInstanceProfile={"Name": "worker"})["InstanceId"]
    first = metadata(instance_id, f"{CREDENTIALS}/worker")
    assert metadata(instance_id, f"{CREDENTIALS}/worker") == first
    house.pass_time(3601)
    second = metadata(instance_id, f"{CREDENTIALS}/worker")
    assert second["AccessKeyId"] != first["AccessKeyId"]
    client_of(house, first, "sts").get_caller_identity()
    house.pass_time(5 * 3600)
    with refused("ExpiredToken", status=403):
        client_of(house, first, "sts").get_caller_identity()
    # At no moment of these hours do credentials with less than five minutes left come out.
    for _ in range(14):
        house.pass_time(1801)
        given = metadata(instance_id, f"{CREDENTIALS}/worker")
        assert when(given["Expiration"]) - house.clock.now() >= timedelta(minutes=5)
        client_of(house, given, "sts").get_caller_identity()


def test_the_role_reaches_and_leaves_a_running_instance_with_its_profile(house, launch, profile, metadata) -> None:
    profile("worker")
    iam = house.client("iam")
    instance_id = launch(IamInstanceProfile={"Name": "worker"})["InstanceId"]
    given = metadata(instance_id, f"{CREDENTIALS}/worker")
    iam.remove_role_from_instance_profile(InstanceProfileName="worker", RoleName="worker")
    house.pass_time(1)
    info = metadata(instance_id, "meta-data/iam/info")
    assert info["Code"] == "Success"
    assert info["Message"].startswith("Instance Profile does not contain a role")
    assert metadata(instance_id, f"{CREDENTIALS}/") is None
    client_of(house, given, "sts").get_caller_identity()  # What was handed out is valid till its end.
    iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="worker")
    house.pass_time(1)
    assert metadata(instance_id, f"{CREDENTIALS}/worker")["Code"] == "Success"


def test_a_role_that_does_not_trust_ec2_shows_as_a_fault_and_heals(house, launch, profile, metadata) -> None:
    profile("worker", EC2_TRUST.replace("ec2.amazonaws.com", "lambda.amazonaws.com"))
    instance_id = launch(IamInstanceProfile={"Name": "worker"})["InstanceId"]
    assert metadata(instance_id, f"{CREDENTIALS}/") == "worker"
    fault = metadata(instance_id, f"{CREDENTIALS}/worker")
    assert fault["Code"] == "AssumeRoleUnauthorizedAccess" and "AccessKeyId" not in fault
    assert "EC2 cannot assume the role worker." in fault["Message"]
    assert metadata(instance_id, "meta-data/iam/info")["Code"] == "Success"
    house.client("iam").update_assume_role_policy(RoleName="worker", PolicyDocument=EC2_TRUST)
    house.pass_time(1)
    assert metadata(instance_id, f"{CREDENTIALS}/worker")["Code"] == "Success"


def test_a_profile_that_was_made_anew_is_another_one(house, launch, profile, metadata) -> None:
    profile("worker")
    iam = house.client("iam")
    instance_id = launch(IamInstanceProfile={"Name": "worker"})["InstanceId"]
    iam.remove_role_from_instance_profile(InstanceProfileName="worker", RoleName="worker")
    iam.delete_instance_profile(InstanceProfileName="worker")
    house.pass_time(1)
    assert metadata(instance_id, "meta-data/iam/info")["Code"] == "InstanceProfileNotFound"
    assert metadata(instance_id, f"{CREDENTIALS}/worker") is None
    iam.create_instance_profile(InstanceProfileName="worker")
    iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="worker")
    house.pass_time(1)
    assert metadata(instance_id, "meta-data/iam/info")["Code"] == "InstanceProfileNotFound"
    ec2 = house.client("ec2")
    (association,) = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    ec2.replace_iam_instance_profile_association(
        AssociationId=association["AssociationId"], IamInstanceProfile={"Name": "worker"}
    )
    assert metadata(instance_id, f"{CREDENTIALS}/worker")["Code"] == "Success"


def test_an_instance_that_is_given_a_profile_gets_the_branch(house, ec2, launch, profile, metadata) -> None:
    profile("worker")
    instance_id = launch()["InstanceId"]
    assert metadata(instance_id, "meta-data/iam/info") is None
    made = ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": "worker"})
    assert metadata(instance_id, f"{CREDENTIALS}/worker")["Code"] == "Success"
    association = made["IamInstanceProfileAssociation"]["AssociationId"]
    ec2.disassociate_iam_instance_profile(AssociationId=association)
    assert metadata(instance_id, "meta-data/iam/info") is None


def test_policies_can_tell_which_instance_calls(house, launch, profile, metadata) -> None:
    profile("worker")
    one, two = (launch(IamInstanceProfile={"Name": "worker"})["InstanceId"] for _ in range(2))
    source = f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{one}"
    text = document(allow("iam:ListRoles", Condition={"ArnEquals": {"ec2:SourceInstanceARN": source}}))
    house.client("iam").put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=text)
    client_of(house, metadata(one, f"{CREDENTIALS}/worker"), "iam").list_roles()
    with refused("AccessDenied", status=403):
        client_of(house, metadata(two, f"{CREDENTIALS}/worker"), "iam").list_roles()


def test_the_identity_document_is_signed_and_no_other_is(house, launch, metadata) -> None:
    instance = launch()
    instance_id = instance["InstanceId"]
    document = metadata(instance_id, "dynamic/instance-identity/document")
    assert document["instanceId"] == instance_id and document["accountId"] == ACCOUNT
    assert (document["region"], document["availabilityZone"]) == ("us-east-1", "us-east-1a")
    assert document["privateIp"] == instance["PrivateIpAddress"] and document["version"] == "2017-09-30"
    assert {document[name] for name in ("billingProducts", "kernelId", "ramdiskId")} == {None}
    service = house.house.ports["imds"]
    token = _ask(
        house, service, instance_id, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    )
    given = {"X-aws-ec2-metadata-token": token}
    text = _ask(house, service, instance_id, "GET", "/latest/dynamic/instance-identity/document", given)
    signature = _ask(house, service, instance_id, "GET", "/latest/dynamic/instance-identity/signature", given)
    verify = house.house.identity_documents.verify
    assert verify(text, signature)
    assert not verify(text.replace(instance_id, "i-0123456789abcdef0"), signature)
    assert not verify(text, "rubbish") and not verify(text, signature[:-8] + "AAAAAAA=")


def test_a_terminated_instance_has_no_metadata(house, ec2, launch) -> None:
    instance_id = launch()["InstanceId"]
    service = house.house.ports["imds"]
    address = ec2.describe_instances()["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
    assert service.resolve_by_private_ip(address) == instance_id
    ec2.terminate_instances(InstanceIds=[instance_id])
    house.settle(lambda: service.resolve_by_private_ip(address) is None)
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    answer = service.request(instance_id, "PUT", "/latest/api/token", lifetime)
    assert house.loop.run_until_complete(answer)[0] == 404


def _ask(house, service, instance_id, method, path, headers):
    status, text = house.loop.run_until_complete(service.request(instance_id, method, path, headers))
    assert status == 200
    return text
