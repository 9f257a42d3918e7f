from __future__ import annotations

import pytest

from longshore.host.image_names import parse_name

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
        ("team/tool", "docker.io/team/tool:latest"),
        ("localhost/tool", "localhost/tool:latest"),
        ("localhost:5000/tool:v1", "localhost:5000/tool:v1"),
        ("public.ecr.aws/a/b/c:d", "public.ecr.aws/a/b/c:d"),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/x", "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"busybox:1.36@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (DIGEST, DIGEST),
    ],
)
def test_what_is_left_out_is_filled_in_as_docker_does(text: str, expected: str) -> None:
    assert str(parse_name(text)) == expected
    assert str(parse_name(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "a b", "-x", "x:", "x:-tag", "x@sha256:12", "x@", "../../etc", "/x", "x/", "x//y", "a:b:c", "x:" + "t" * 129,
     "--help"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        parse_name(text)


def test_a_repository_is_written_in_small_letters() -> None:
    with pytest.raises(ValueError, match="repository name must be lowercase"):
        parse_name("Busybox")
