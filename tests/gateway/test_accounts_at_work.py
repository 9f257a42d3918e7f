"""Two accounts at work on one server, with the same names for everything: machines, agents, jobs and logs keep to their own."""

from __future__ import annotations

import pytest

from accounts import Account, limit
from batch_house import BatchHouse
from in_process import ACCOUNT, InProcessHouse
from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.kit.sealing import Sealer
from longshore.services.iam import identities
from people import Person, allow, deny, document
from refusals import refused

OTHER = "222222222222"


class OfAccount(BatchHouse):
    """The chain of an account that was added."""

    def __init__(self, house: InProcessHouse, account: Account) -> None:
        super().__init__(house)
        self.batch, self.iam, self.ecs, self.ec2, self.logs = (
            account.client(name) for name in ("batch", "iam", "ecs", "ec2", "logs")
        )


def test_the_same_names_in_two_accounts_are_two_things(house: InProcessHouse) -> None:
    ours, theirs = BatchHouse(house), OfAccount(house, Account(house, OTHER))
    jobs = {}
    for chain, line in ((ours, "said by ours"), (theirs, "said by theirs")):
        chain.chain()
        jobs[chain] = chain.submit(script={"LOG": line})
    seen = {}
    for chain, account in ((ours, ACCOUNT), (theirs, OTHER)):
        job = chain.until(jobs[chain], "SUCCEEDED")
        assert job["jobArn"].split(":")[4] == account
        assert [
            each["jobId"] for each in chain.batch.list_jobs(jobQueue="q", jobStatus="SUCCEEDED")["jobSummaryList"]
        ] == [jobs[chain]]
        stream = job["container"]["logStreamName"]
        (event,) = chain.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
        assert event["message"] == ("said by ours" if chain is ours else "said by theirs")
        (reservation,) = chain.ec2.describe_instances()["Reservations"]
        assert reservation["OwnerId"] == account
        seen[chain] = {reservation["Instances"][0]["InstanceId"], stream, jobs[chain]}
        (arn,) = chain.ecs.list_clusters()["clusterArns"]
        (instance,) = chain.ecs.list_container_instances(cluster=arn)["containerInstanceArns"]
        assert arn.split(":")[4] == instance.split(":")[4] == account
    assert not seen[ours] & seen[theirs]
    for chain, other in ((ours, theirs), (theirs, ours)):
        assert chain.batch.describe_jobs(jobs=[jobs[other]])["jobs"] == []


def test_an_agent_is_limited_by_its_account_s_service_control_policies_and_freed(house: InProcessHouse) -> None:
    account = Account(house, OTHER)
    theirs, ours = OfAccount(house, account), BatchHouse(house)
    theirs.chain(minvCpus=2)
    first = theirs.submit()
    theirs.until(first, "SUCCEEDED")
    everything = document(allow("*"))
    limit(house, OTHER, [everything, document(deny("ecs:RegisterContainerInstance"), deny("ecs:Poll"))])
    waiting = theirs.submit()
    house.pass_time(120)
    assert theirs.job(waiting)["status"] in ("RUNNABLE", "STARTING")
    ours.chain()
    ours.until(ours.submit(), "SUCCEEDED")  # The other account's agents are not concerned.
    limit(house, OTHER)
    theirs.until(waiting, "SUCCEEDED", seconds=1200)


def test_keys_and_users_that_change_are_known_as_changed_at_the_next_request(house: InProcessHouse) -> None:
    account = Account(house, OTHER)
    iam = account.client("iam")
    bob = Person(house, "bob", iam=iam)
    sts = bob.client("sts")
    sts.get_caller_identity()
    key = bob.key["AccessKeyId"]
    for status, works in (("Inactive", False), ("Active", True)):
        iam.update_access_key(UserName="bob", AccessKeyId=key, Status=status)
        if works:
            sts.get_caller_identity()
        else:
            with refused("InvalidClientTokenId", status=403):
                sts.get_caller_identity()
    iam.delete_access_key(UserName="bob", AccessKeyId=key)
    with refused("InvalidClientTokenId", status=403):
        sts.get_caller_identity()
    # The account's own key is not one of its users'.
    account.client("sts").get_caller_identity()
    with refused("NoSuchEntity", status=404):
        iam.delete_access_key(UserName="bob", AccessKeyId=account.key_id)


def test_a_copy_of_the_database_alone_gives_nobody_access(house: InProcessHouse) -> None:
    """The secrets in it are sealed, and with another key nothing opens: neither users' keys nor root keys."""
    account = Account(house, OTHER)
    bob = Person(house, "bob", iam=account.client("iam"))
    identities.forget()
    ours, stranger = house.house.sealer, Sealer(b"another key, of 32 bytes as well")

    def look(key_id: str, sealer: Sealer) -> tuple[Principal, str]:
        return house.store.read(lambda tx: identities.access_key(tx, key_id, house.clock.now(), sealer))

    for key_id, secret in ((bob.key["AccessKeyId"], bob.key["SecretAccessKey"]), (account.key_id, account.secret)):
        with pytest.raises(AwsError, match="InvalidClientTokenId"):
            look(key_id, stranger)
        assert look(key_id, ours)[1] == secret
