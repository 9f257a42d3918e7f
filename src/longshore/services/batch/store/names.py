"""Names as they stand in requests."""

from __future__ import annotations


def name_of(account: str, region: str, name_or_arn: str, kind: str) -> str | None:
    """The name in an ARN of this account and region, or the name itself. None: an ARN of elsewhere."""
    if not name_or_arn.startswith("arn:"):
        return name_or_arn
    parts = name_or_arn.split(":", 5)
    if len(parts) < 6 or parts[2:5] != ["batch", region, account] or not parts[5].startswith(kind + "/"):
        return None
    return parts[5][len(kind) + 1 :]
