"""The metadata service over HTTP: who is asking, with which token, and what is refused.

Source: EC2 user guide, "Use the Instance Metadata Service to access instance metadata".
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

TOKEN, TTL = "X-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
ID = "/latest/meta-data/instance-id"


def with_token(service, path, token, method="GET", **more):
    return service.ask(method, path, X_aws_ec2_metadata_token=token, **more)


def test_a_token_opens_the_tree_and_says_how_long(service) -> None:
    status, headers, token = service.ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="21600")
    assert (status, headers[TTL], len(token)) == (200, "21600", 56)
    service.now += timedelta(seconds=600)
    status, headers, text = with_token(service, ID, token)
    assert (status, text, headers[TTL]) == (200, "i-1", "21000")
    assert headers["content-type"].startswith("text/plain") and headers["server"] == "EC2ws"
    service.now += timedelta(seconds=21000)
    assert with_token(service, ID, token)[0] == 401


@pytest.mark.parametrize("ttl", [None, "", "0", "21601", "-1", "1.5", "soon", "²"])
def test_a_lifetime_must_be_one_second_to_six_hours(service, ttl) -> None:
    headers = {} if ttl is None else {"X_aws_ec2_metadata_token_ttl_seconds": ttl}
    status, _, page = service.ask("PUT", "/latest/api/token", **headers)
    assert status == 400 and "400 - Bad Request" in page


def test_tokens_are_not_given_through_proxies_nor_by_old_versions(service) -> None:
    asked = {"X_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert service.ask("PUT", "/latest/api/token", X_Forwarded_For="10.0.0.1", **asked)[0] == 403
    assert service.ask("PUT", "/2021-07-15/api/token", **asked)[0] == 403
    assert service.ask("GET", "/latest/api/token")[0] == 405
    assert service.ask("PUT", ID, **asked)[0] == 405
    assert service.ask("POST", ID)[0] == 405


def test_version_one_works_where_tokens_are_optional(service) -> None:
    assert service.ask("GET", ID)[2] == "i-1"
    assert service.ask("GET", ID + "?x=1")[2] == "i-1"
    assert service.ask("HEAD", ID)[0] == 200
    assert with_token(service, ID, "rubbish")[0] == 401  # A bad token is refused also there.
    assert service.ask("GET", "/latest/meta-data/nothing")[0] == 404


def test_version_one_is_refused_where_tokens_are_required(service, view) -> None:
    service.views[view.private_ip] = replace(view, http_tokens_required=True)
    status, _, page = service.ask("GET", ID)
    assert status == 401 and "401 - Unauthorized" in page
    assert with_token(service, ID, service.token())[2] == "i-1"


def test_a_closed_endpoint_answers_nothing(service, view) -> None:
    token = service.token()
    service.views[view.private_ip] = replace(view, http_endpoint=False)
    assert with_token(service, ID, token)[0] == 403
    assert service.ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")[0] == 403


def test_an_instance_is_known_by_its_address_and_a_token_is_of_no_use_on_another(service, view) -> None:
    other = replace(view, instance_id="i-2", private_ip="172.31.0.10")
    service.views[other.private_ip] = other
    assert service.ask("GET", ID, peer=other.private_ip)[2] == "i-2"
    token = service.token()
    assert with_token(service, ID, token)[0] == 200
    assert with_token(service, ID, token, peer=other.private_ip)[0] == 401
    assert service.ask("GET", ID, peer="10.0.0.1")[0] == 404


def test_credentials_are_shown_to_the_instance_alone(service, view, profile) -> None:
    other = replace(view, instance_id="i-2", private_ip="172.31.0.10")
    service.views = {view.private_ip: replace(view, profile=profile), other.private_ip: other}
    path = "/latest/meta-data/iam/security-credentials/r"
    assert "ASIA1" in service.ask("GET", path)[2]
    assert service.ask("GET", path, peer=other.private_ip)[0] == 404
    # Nothing that is said names the instance: only the link does.
    assert (
        service.ask("GET", path, peer=other.private_ip, X_Forwarded_For=view.private_ip, Host=view.private_ip)[0] == 404
    )
