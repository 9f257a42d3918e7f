import pytest

from longshore.aws.errors import AwsError


def refusal(room, name, request) -> AwsError:  # type: ignore[no-untyped-def]
    with pytest.raises(AwsError) as refused:
        room.call(name, request)
    return refused.value


def test_a_cluster_from_its_creation_to_its_end(room) -> None:  # type: ignore[no-untyped-def]
    made = room.call("CreateCluster", {"clusterName": "demo", "tags": [{"key": "a", "value": "b"}]})["cluster"]
    assert made["clusterArn"] == "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
    assert (made["status"], made["registeredContainerInstancesCount"]) == ("ACTIVE", 0)
    assert room.call("CreateCluster", {"clusterName": "demo"})["cluster"] == made
    room.call("CreateCluster", {})
    assert room.call("ListClusters")["clusterArns"] == [
        made["clusterArn"].replace("demo", "default"),
        made["clusterArn"],
    ]
    page = room.call("ListClusters", {"maxResults": 1})
    assert room.call("ListClusters", {"nextToken": page["nextToken"]})["clusterArns"] == [made["clusterArn"]]
    found = room.call("DescribeClusters", {"clusters": [made["clusterArn"], "ghost"], "include": ["TAGS"]})
    assert found["clusters"][0]["tags"] == [{"key": "a", "value": "b"}]
    assert found["failures"] == [{"arn": "arn:aws:ecs:us-east-1:123456789012:cluster/ghost", "reason": "MISSING"}]

    arn = room.register()["containerInstanceArn"]
    assert refusal(room, "DeleteCluster", {"cluster": "demo"}).code == "ClusterContainsContainerInstancesException"
    room.call("DeregisterContainerInstance", {"cluster": "demo", "containerInstance": arn})
    assert room.call("DeleteCluster", {"cluster": "demo"})["cluster"]["status"] == "INACTIVE"
    assert room.call("DescribeClusters", {"clusters": ["demo"]})["clusters"][0]["status"] == "INACTIVE"
    assert refusal(room, "ListTasks", {"cluster": "demo"}).message == "The referenced cluster was inactive."
    assert room.call("CreateCluster", {"clusterName": "demo"})["cluster"]["status"] == "ACTIVE"


@pytest.mark.parametrize("operation", ["ListTasks", "ListContainerInstances", "ListServices"])
def test_an_unknown_cluster_is_not_found(room, operation) -> None:  # type: ignore[no-untyped-def]
    error = refusal(room, operation, {"cluster": "ghost"})
    assert (error.code, error.message) == ("ClusterNotFoundException", "Cluster not found.")


def test_services_are_none(room) -> None:  # type: ignore[no-untyped-def]
    room.call("CreateCluster", {})
    assert room.call("ListServices") == {"serviceArns": []}
    assert room.call("DescribeServices", {"services": ["web"]})["failures"][0]["reason"] == "MISSING"


def test_what_is_registered_comes_back_with_awss_defaults(room) -> None:  # type: ignore[no-untyped-def]
    container = {
        "name": "main",
        "image": "busybox",
        "memory": 64,
        "portMappings": [{"containerPort": 80}],
        "mountPoints": [{"sourceVolume": "v", "containerPath": "/data"}],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/aws/batch/job"}},
    }
    request = {
        "family": "fam", "containerDefinitions": [container], "volumes": [{"name": "v", "host": {"sourcePath": "/v"}}],
        "taskRoleArn": "arn:aws:iam::123456789012:role/r", "networkMode": "host", "tags": [{"key": "a", "value": "b"}],
    }  # fmt: skip
    answer = room.call("RegisterTaskDefinition", request)
    shown = answer["taskDefinition"]
    assert (shown["revision"], shown["status"], shown["family"]) == (1, "ACTIVE", "fam")
    assert shown["containerDefinitions"] == [
        {
            **container, "cpu": 0, "essential": True, "environment": [], "volumesFrom": [], "systemControls": [],
            "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}],
        }
    ]  # fmt: skip
    assert {each["name"] for each in shown["requiresAttributes"]} == {
        "com.amazonaws.ecs.capability.logging-driver.awslogs",
        "com.amazonaws.ecs.capability.task-iam-role-network-host",
    }
    described = room.call("DescribeTaskDefinition", {"taskDefinition": "fam", "include": ["TAGS"]})
    assert described == answer
    # What we return we accept.
    again = {key: value for key, value in shown.items() if key in request}
    assert (
        room.call("RegisterTaskDefinition", again)["taskDefinition"]["containerDefinitions"]
        == shown["containerDefinitions"]
    )


def test_revisions_count_on_and_deregistered_ones_refuse_new_tasks(room) -> None:  # type: ignore[no-untyped-def]
    room.joined()
    first, second = room.define(), room.define()
    assert second.endswith("fam:2")
    room.call("DeregisterTaskDefinition", {"taskDefinition": second})
    assert room.call("DescribeTaskDefinition", {"taskDefinition": second})["taskDefinition"]["status"] == "INACTIVE"
    assert room.call("DescribeTaskDefinition", {"taskDefinition": "fam"})["taskDefinition"]["revision"] == 1
    error = refusal(room, "RunTask", {"cluster": "demo", "taskDefinition": second})
    assert (error.code, error.message) == ("ClientException", "TaskDefinition is inactive")
    assert room.call("ListTaskDefinitions", {"familyPrefix": "fam"})["taskDefinitionArns"] == [first]
    assert room.call("ListTaskDefinitions", {"status": "INACTIVE"})["taskDefinitionArns"] == [second]
    room.call("DeregisterTaskDefinition", {"taskDefinition": first})
    assert room.define().endswith("fam:3")
    assert room.call("ListTaskDefinitionFamilies", {"status": "ACTIVE"})["families"] == ["fam"]
    assert room.call("ListTaskDefinitionFamilies", {"status": "INACTIVE"})["families"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "no spaces"}, "Family contains invalid characters."),
        ({"containerDefinitions": []}, "Container list cannot be empty."),
        ({"container": {"image": ""}}, "Container.image should not be null or empty."),
        ({"container": {"name": ""}}, "Container.name should not be null or empty."),
        (
            {"container": {"memory": None}},
            "Invalid setting for container 'main'. At least one of 'memory' or 'memoryReservation' must be specified.",
        ),
        ({"container": {"mountPoints": [{"sourceVolume": "v", "containerPath": "/"}]}}, "Unknown volume 'v'."),
        ({"networkMode": "host", "container": {"links": ["a"]}}, "Links are not supported when networkMode=host."),
        ({"cpu": "lots"}, "Invalid 'cpu' setting for task: lots"),
    ],
)
def test_what_no_task_definition_can_be(room, change, message) -> None:  # type: ignore[no-untyped-def]
    container = {"name": "main", "image": "busybox", "memory": 64, **change.pop("container", {})}
    request = {"family": "fam", "containerDefinitions": [container], **change}
    error = refusal(room, "RegisterTaskDefinition", request)
    assert (error.code, error.message) == ("ClientException", message)


def test_what_is_not_described_is_said_in_awss_words(room) -> None:  # type: ignore[no-untyped-def]
    error = refusal(room, "DescribeTaskDefinition", {"taskDefinition": "ghost"})
    assert (error.code, error.message) == ("ClientException", "Unable to describe task definition.")


def test_tags_of_all_four_kinds(room) -> None:  # type: ignore[no-untyped-def]
    instance, _ = room.joined()
    definition = room.define()
    (task,) = room.call("RunTask", {"cluster": "demo", "taskDefinition": definition})["tasks"]
    for arn in ("arn:aws:ecs:us-east-1:123456789012:cluster/demo", instance, definition, task["taskArn"]):
        room.call("TagResource", {"resourceArn": arn, "tags": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]})
        room.call("UntagResource", {"resourceArn": arn, "tagKeys": ["a"]})
        assert room.call("ListTagsForResource", {"resourceArn": arn})["tags"] == [{"key": "b", "value": "2"}]
    unknown = "arn:aws:ecs:us-east-1:123456789012:cluster/ghost"
    assert refusal(room, "ListTagsForResource", {"resourceArn": unknown}).code == "InvalidParameterException"
    reserved = {"resourceArn": definition, "tags": [{"key": "aws:x", "value": ""}]}
    assert refusal(room, "TagResource", reserved).code == "InvalidParameterException"


def test_account_settings_are_kept(room) -> None:  # type: ignore[no-untyped-def]
    room.call("PutAccountSetting", {"name": "containerInsights", "value": "enabled"})
    listed = room.call("ListAccountSettings", {"name": "containerInsights"})["settings"]
    assert [(each["name"], each["value"]) for each in listed] == [("containerInsights", "enabled")]
    effective = room.call("ListAccountSettings", {"effectiveSettings": True})["settings"]
    assert ("taskLongArnFormat", "enabled") in [(each["name"], each["value"]) for each in effective]
    room.call("DeleteAccountSetting", {"name": "containerInsights"})
    assert room.call("ListAccountSettings")["settings"] == []
