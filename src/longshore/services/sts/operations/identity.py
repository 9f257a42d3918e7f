"""Who somebody is."""

from __future__ import annotations

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation


@operation
def get_caller_identity(call: Call, request: Request) -> Response:
    """Never refused. Source: STS API reference, GetCallerIdentity: no permissions are required."""
    principal = call.principal
    return {"UserId": principal.user_id, "Account": principal.account, "Arn": principal.arn}


@operation
def get_access_key_info(call: Call, request: Request) -> Response:
    key = request["AccessKeyId"]
    if key != call.principal.access_key_id:
        # Keys of one account are all that this house has, and whose key it is only its owner may learn here.
        raise AwsError("ValidationError", f"The access key {key} is not known.")
    return {"Account": call.account}
