"""What users can have at AWS and nobody has here: devices for a second factor, certificates, keys for other protocols.

Clients ask for them before they delete a user. That there are none is the truth: nothing here makes any.
"""

from __future__ import annotations

from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import shown
from longshore.services.iam.operations import users


@operation
def list_mfa_devices(call: Call, request: Request) -> Response:
    users.named(call, request)
    return shown.page(call, request, "MFADevices", [])


@operation
def list_virtual_mfa_devices(call: Call, request: Request) -> Response:
    return shown.page(call, request, "VirtualMFADevices", [])


@operation
def list_signing_certificates(call: Call, request: Request) -> Response:
    users.named(call, request)
    return shown.page(call, request, "Certificates", [])


@operation
def list_ssh_public_keys(call: Call, request: Request) -> Response:
    users.named(call, request)
    return shown.page(call, request, "SSHPublicKeys", [])


@operation
def list_service_specific_credentials(call: Call, request: Request) -> Response:
    if not request.get("AllUsers"):
        users.named(call, request)
    return {"ServiceSpecificCredentials": [], "IsTruncated": False}
