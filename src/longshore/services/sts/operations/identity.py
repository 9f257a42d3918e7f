"""Who somebody is."""

from __future__ import annotations

from collections.abc import Callable

from longshore.aws.errors import AwsError
from longshore.aws.ids import account_of_access_key
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.store.engine import Transaction

# The port that tells whose long-term key it is: `(transaction, access_key_id) -> account`.
KEYS = "keys"


@operation
def get_caller_identity(call: Call, request: Request) -> Response:
    """Never refused. Source: STS API reference, GetCallerIdentity: no permissions are required."""
    principal = call.principal
    return {"UserId": principal.user_id, "Account": principal.account, "Arn": principal.arn}


@operation
def get_access_key_info(call: Call, request: Request) -> Response:
    """Of any key, of whatever account, also of one that is not there: AWS reads the account from the key itself.

    Keys whose ids tell no account are looked up. The text is ours: what AWS says of an unknown one is nowhere told.
    """
    key = request["AccessKeyId"]
    if key == call.principal.access_key_id:
        return {"Account": call.account}
    kept: Callable[[Transaction, str], str | None] = call.house.ports[KEYS]
    # First what is kept: a key that was made before ids told the account, or was given to us, may look as if it told one.
    account = kept(call.transaction, key) or account_of_access_key(key)
    if account is None:
        raise AwsError("ValidationError", f"The access key {key} is not known.")
    return {"Account": account}
