"""An error as AWS answers it: code, message, HTTP status.

The message is part of the contract with clients and is tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AwsError(Exception):
    """What a caller is told. Raised anywhere below the gateway; each protocol serializes it in its own form.

    `code` is the code that clients compare (`NoSuchEntity`, `ClientException`).
    `status` None: the status of the error's shape in the service model, else 400.
    `fields` are further members of the error's shape.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, fields: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = dict(fields or {})
