"""The account as a whole: its alias, its numbers, its credential report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import rules, shown, store
from longshore.services.iam.operations import policies
from longshore.services.iam.records import (
    AccessKey,
    CredentialReport,
    Group,
    InstanceProfile,
    PasswordPolicy,
    Policy,
    Role,
    User,
)

# IAM API reference, GenerateCredentialReport: a report that is less than four hours old is given again.
_REPORT_AGE_MAX = timedelta(hours=4)


@operation
def create_account_alias(call: Call, request: Request) -> Response:
    """One alias an account: a new one takes the place of the old one. EntityAlreadyExists: it is another account's."""
    alias = request["AccountAlias"]
    if store.account_of_alias(call.transaction, alias) not in (None, call.account):
        raise rules.exists(f"The account alias {alias} already exists.")
    facts = store.facts_of(call.transaction, call.account)
    store.save_facts(call.transaction, call.account, replace(facts, alias=alias))
    return {}


@operation
def delete_account_alias(call: Call, request: Request) -> Response:
    facts = store.facts_of(call.transaction, call.account)
    if facts.alias != request["AccountAlias"]:
        raise rules.missing(f"The account alias with name {request['AccountAlias']} cannot be found.")
    store.save_facts(call.transaction, call.account, replace(facts, alias=None))
    return {}


@operation
def list_account_aliases(call: Call, request: Request) -> Response:
    alias = store.facts_of(call.transaction, call.account).alias
    return shown.page(call, request, "AccountAliases", [alias] if alias else [])


@operation
def get_account_summary(call: Call, request: Request) -> Response:
    """Numbers and quotas. Of devices, certificates and providers there are none here."""
    quotas = {
        "AccessKeysPerUserQuota": "AccessKeysPerUser",
        "AssumeRolePolicySizeQuota": "ACLSizePerRole",
        "AttachedPoliciesPerGroupQuota": "PoliciesPerGroup",
        "AttachedPoliciesPerRoleQuota": "PoliciesPerRole",
        "AttachedPoliciesPerUserQuota": "PoliciesPerUser",
        "GroupPolicySizeQuota": "InlineSizePerGroup",
        "GroupsPerUserQuota": "GroupsPerUser",
        "GroupsQuota": "GroupsPerAccount",
        "InstanceProfilesQuota": "InstanceProfilesPerAccount",
        "PoliciesQuota": "PoliciesPerAccount",
        "PolicySizeQuota": "PolicySize",
        "PolicyVersionsInUseQuota": "PolicyVersionsInUse",
        "RolePolicySizeQuota": "InlineSizePerRole",
        "RolesQuota": "RolesPerAccount",
        "UserPolicySizeQuota": "InlineSizePerUser",
        "UsersQuota": "UsersPerAccount",
        "VersionsPerPolicyQuota": "VersionsPerPolicy",
    }
    summary = {
        "Users": store.count(call.transaction, User, call.account),
        "Groups": store.count(call.transaction, Group, call.account),
        "Roles": store.count(call.transaction, Role, call.account),
        "InstanceProfiles": store.count(call.transaction, InstanceProfile, call.account),
        "Policies": store.count(call.transaction, Policy, call.account),
        # IAM API reference, GetAccountSummary: the managed policies that are attached to users, groups or roles.
        "PolicyVersionsInUse": len(policies.uses_of(call).attached),
        "AccountAccessKeysPresent": 1,  # Every account here has a root key.
        "AccountMFAEnabled": 0,
        "AccountPasswordPresent": 0,
        "AccountSigningCertificatesPresent": 0,
        "MFADevices": 0,
        "MFADevicesInUse": 0,
        "Providers": 0,
        "ServerCertificates": 0,
        "ServerCertificatesQuota": 20,
        "SigningCertificatesPerUserQuota": 2,
        "GlobalEndpointTokenVersion": 1,
        **{shown_as: rules.quota(call, name) for shown_as, name in quotas.items()},
    }
    return {"SummaryMap": summary}


@operation
def generate_credential_report(call: Call, request: Request) -> Response:
    """Made at once; AWS takes some seconds, and answers in between that it has begun."""
    facts = store.facts_of(call.transaction, call.account)
    report = facts.credential_report
    if report is not None and call.now - report.generated_at < _REPORT_AGE_MAX:
        return {"State": "COMPLETE"}
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="N/A", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(call, facts.password_policy))
    report = CredentialReport(content=text.getvalue().rstrip("\n"), generated_at=call.now)
    store.save_facts(call.transaction, call.account, replace(facts, credential_report=report))
    return {"State": "STARTED", "Description": "No report exists. Starting a new report generation task"}


@operation
def get_credential_report(call: Call, request: Request) -> Response:
    report = store.facts_of(call.transaction, call.account).credential_report
    if report is None:
        raise AwsError("ReportNotPresent", "No report is present; generate one first.", status=410)
    if call.now - report.generated_at >= _REPORT_AGE_MAX:
        raise AwsError("ReportExpired", "The report has expired; generate another.", status=410)
    return {
        "Content": report.content.encode(),
        "ReportFormat": "text/csv",
        "GeneratedTime": shown.second(report.generated_at),
    }


# IAM user guide, "Getting credential reports for your AWS account", in its order.
_COLUMNS = (
    "user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed",
    "password_next_rotation", "mfa_active",
    *(f"access_key_{number}_{fact}" for number in (1, 2) for fact in (
        "active", "last_rotated", "last_used_date", "last_used_region", "last_used_service",
    )),
    "cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
)  # fmt: skip
_NO_CERTIFICATES = {"cert_1_active": "false", "cert_2_active": "false"}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _rows(call: Call, policy: PasswordPolicy | None) -> Iterator[dict[str, str]]:
    yield {
        "user": "<root_account>",
        "arn": call.arn("root"),
        "password_enabled": "not_supported",
        "password_last_used": "no_information",
        "password_last_changed": "not_supported",
        "password_next_rotation": "not_supported",
        "mfa_active": "false",
        "access_key_1_active": "true",
        "access_key_2_active": "false",
        **_NO_CERTIFICATES,
    }
    for user in store.listed(call.transaction, User, call.account):
        row = {
            "user": user.name,
            "arn": user.arn,
            "user_creation_time": _time(user.created_at),
            "password_enabled": "true" if user.login else "false",
            "mfa_active": "false",
            "access_key_1_active": "false",
            "access_key_2_active": "false",
            **_NO_CERTIFICATES,
        }
        if user.login is not None:
            row["password_last_used"] = "no_information"
            row["password_last_changed"] = _time(user.login.changed_at)
            if policy is not None and policy.age_days_max is not None:
                row["password_next_rotation"] = _time(user.login.changed_at + timedelta(days=policy.age_days_max))
        for number, key in enumerate(store.keys_of(call.transaction, call.account, user.name)[:2], 1):
            row.update({f"access_key_{number}_{fact}": value for fact, value in _key(call, key).items()})
        yield row


def _key(call: Call, key: AccessKey) -> dict[str, str]:
    use = store.last_use_of_key(call.transaction, key.access_key_id)
    facts = {"active": "true" if key.is_active else "false", "last_rotated": _time(key.created_at)}
    if use is not None:
        facts.update(
            last_used_date=_time(shown.moment(use)), last_used_region=use.region, last_used_service=use.service
        )
    return facts
