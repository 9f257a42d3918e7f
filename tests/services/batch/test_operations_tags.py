from __future__ import annotations

from batch_room import Room, arn, denial, refusal


def test_each_kind_of_resource_is_tagged_read_and_untagged(ready: Room) -> None:
    job_id = ready.submit()
    for resource in ("compute-environment/ce", "job-queue/q", "job-definition/jd:1", f"job/{job_id}"):
        there = {"resourceArn": arn(resource)}
        assert ready.batch.list_tags_for_resource(**there)["tags"] == {}
        ready.batch.tag_resource(**there, tags={"team": "a/b c", "Zürich": "\N{SNOWMAN}"})
        ready.batch.tag_resource(**there, tags={"team": "b"})
        assert ready.batch.list_tags_for_resource(**there)["tags"] == {"team": "b", "Zürich": "\N{SNOWMAN}"}
        ready.batch.untag_resource(**there, tagKeys=["Zürich", "never"])
        assert ready.batch.list_tags_for_resource(**there)["tags"] == {"team": "b"}
    assert ready.batch.describe_job_queues(jobQueues=["q"])["jobQueues"][0]["tags"] == {"team": "b"}
    assert ready.batch.describe_job_definitions()["jobDefinitions"][0]["tags"] == {"team": "b"}
    assert ready.job(job_id)["tags"] == {"team": "b"}
    assert ready.batch.describe_compute_environments()["computeEnvironments"][0]["tags"] == {"team": "b"}


def test_what_is_not_there_has_no_tags(ready: Room) -> None:
    for resource in ("job-queue/nobody", "job-definition/jd", "job-definition/jd:2", "job/x", "job-queue", "shelf/q"):
        there = arn(resource)
        assert refusal(ready.batch.list_tags_for_resource, resourceArn=there) == f"{there} does not exist"
        assert refusal(ready.batch.tag_resource, resourceArn=there, tags={"a": "b"}) == f"{there} does not exist"
    elsewhere = "arn:aws:batch:eu-west-1:123456789012:job-queue/q"
    assert refusal(ready.batch.untag_resource, resourceArn=elsewhere, tagKeys=["a"]) == f"{elsewhere} does not exist"
    assert refusal(ready.batch.list_tags_for_resource, resourceArn="q") == "Invalid resource ARN: q"


def test_tags_have_their_limits(ready: Room) -> None:
    there = {"resourceArn": arn("job-queue/q")}
    ready.batch.tag_resource(**there, tags={f"k{index}": "v" for index in range(50)})
    text = refusal(ready.batch.tag_resource, **there, tags={"one": "more"})
    assert text == "A resource can have at most 50 tags."
    text = refusal(ready.batch.tag_resource, **there, tags={"aws:batch": "x"})
    assert text == "Tag keys starting with aws: are reserved for AWS use."
    ready.batch.tag_resource(**there, tags={"k0": "other"})


def test_rights_can_hang_on_the_tags_that_are_given(ready: Room) -> None:
    user = ready.user(
        "bob",
        {
            "Effect": "Allow",
            "Action": "batch:TagResource",
            "Resource": arn("job-queue/q"),
            "Condition": {"StringEquals": {"aws:RequestTag/team": "a"}},
        },
        {
            "Effect": "Allow",
            "Action": "batch:UntagResource",
            "Resource": "*",
            "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}},
        },
    )
    there = {"resourceArn": arn("job-queue/q")}
    user.tag_resource(**there, tags={"team": "a"})
    assert f"batch:TagResource on resource: {arn('job-queue/q')} " in denial(
        user.tag_resource, **there, tags={"team": "b"}
    )
    user.untag_resource(**there, tagKeys=["team"])
    assert "batch:UntagResource" in denial(user.untag_resource, **there, tagKeys=["team", "other"])
    assert "batch:ListTagsForResource" in denial(user.list_tags_for_resource, **there)
