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
    """Of the keys of the caller's own account. AWS tells the account of any key; here no account learns of another.

    The code and the text are ours: AWS reads the account from the key itself, and knows no key that has none.
    """
    key = request["AccessKeyId"]
    if key != call.principal.access_key_id:
        try:
            call.peer("iam", "GetAccessKeyLastUsed", {"AccessKeyId": key}, as_=call.as_service())
        except AwsError as error:
            raise AwsError("ValidationError", f"The access key {key} is not known.") from error
    return {"Account": call.account}
