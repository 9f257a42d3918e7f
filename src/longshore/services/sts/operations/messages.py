"""What refusals tell to those who may read it."""

from __future__ import annotations

from longshore.aws.errors import AwsError
from longshore.kit import authorization_message
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation


@operation(writes=False)
def decode_authorization_message(call: Call, request: Request) -> Response:
    """InvalidAuthorizationMessageException: rubbish; a message of another account is no better."""
    try:
        told = authorization_message.decode(call.house.sealer, call.account, request["EncodedMessage"])
    except ValueError as error:
        # The text is ours.
        raise AwsError("InvalidAuthorizationMessageException", "The authorization message is invalid.") from error
    return {"DecodedMessage": told}
