"""Writes docs/coverage.md from the code: which operations of each service answer, and which AWS has beside them.

scripts/coverage.py          writes the page
scripts/coverage.py --check  ends with 1 when the page is not what the code says
"""

from __future__ import annotations

import sys
from pathlib import Path

from longshore.aws import model
from longshore.kit.service import Service
from longshore.server.assemble import SERVICES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
_NAMES = {
    "iam": "IAM",
    "sts": "STS",
    "ec2": "EC2",
    "ecs": "ECS",
    "batch": "Batch",
    "logs": "CloudWatch Logs",
    "cloudtrail": "CloudTrail",
}
_LISTED_MAX = 150  # EC2's eight hundred operations would bury the page.


def page() -> str:
    lines = [
        "# Coverage",
        "",
        "Made from the code by `scripts/coverage.py`. What is not offered is refused with the service's own error.",
        "",
        "| service | offered | of |",
        "|---|---|---|",
    ]
    for name, room in SERVICES.items():
        offered, missing = _split(name, room)
        lines.append(f"| {_NAMES.get(name, name)} | {len(offered)} | {len(offered) + len(missing)} |")
    for name, room in SERVICES.items():
        offered, missing = _split(name, room)
        lines += ["", f"## {_NAMES.get(name, name)}", "", f"Offered: {', '.join(offered)}."]
        if room.streams:
            lines += ["", f"Streams of the agent: {', '.join(sorted(stream.path for stream in room.streams))}."]
        if room.extensions:
            shown = ", ".join(f"`{each.method} {each.path}`" for each in room.extensions)
            lines += ["", f"Beyond AWS: {shown}."]
        if missing and len(missing) <= _LISTED_MAX:
            lines += ["", f"Not offered: {', '.join(missing)}."]
        elif missing:
            lines += ["", f"Not offered: the other {len(missing)} operations of the model."]
    return "\n".join(lines) + "\n"


def _split(name: str, room: Service) -> tuple[list[str], list[str]]:
    operations = sorted(model.model(name).operations)
    offered = [each for each in operations if room.operation(each) is not None]
    return offered, [each for each in operations if room.operation(each) is None]


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.read_text() != text:
            print("docs/coverage.md is not what the code says: run scripts/coverage.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
