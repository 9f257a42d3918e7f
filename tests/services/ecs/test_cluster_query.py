import pytest

from longshore.aws.errors import AwsError
from longshore.services.ecs import cluster_query

FACTS = {
    "attribute:ecs.instance-type": "t2.small",
    "attribute:stack": "prod",
    "attribute:ssd": None,
    "agentConnected": "true",
    "runningTasksCount": "3",
    "ec2InstanceId": "i-1",
    "task:group=service:web": "service:web",
}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("attribute:stack == prod", True),
        ("attribute:stack equals prod", True),
        ("attribute:stack != prod", False),
        ("attribute:stack == 'prod'", True),
        ("attribute:ecs.instance-type =~ t2.*", True),
        ("attribute:ecs.instance-type !~ t2.*", False),
        ("attribute:ecs.instance-type in [t2.small, t2.medium]", True),
        ("attribute:ecs.instance-type not_in (t2.small)", False),
        ("attribute:ssd exists", True),
        ("attribute:gpu exists", False),
        ("attribute:gpu !exists", True),
        ("attribute:gpu not_exists", True),
        ("attribute:gpu == 1", False),
        ("attribute:gpu != 1", True),
        ("not(attribute:stack == prod)", False),
        ("!(attribute:stack == test)", True),
        ("attribute:stack == test or agentConnected == true", True),
        ("attribute:stack == prod and agentConnected == false", False),
        ("attribute:stack == test && agentConnected == true || ec2InstanceId == i-1", True),
        ("runningTasksCount >= 3", True),
        ("runningTasksCount < 3", False),
        ("runningTasksCount > 10", False),
        ("task:group == service:web", True),
        ("task:group == service:db", False),
        ("not(task:group == service:web)", False),
    ],
)
def test_expressions(expression: str, holds: bool) -> None:
    assert cluster_query.parse(expression)(FACTS) is holds


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "attribute:a",
        "attribute:a ==",
        "nobody == 1",
        "attribute:a == b c",
        "(attribute:a == b",
        "attribute:a =~ [",
        "'",
    ],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(AwsError) as refused:
        cluster_query.parse(expression)
    assert refused.value.code == "InvalidParameterException"
