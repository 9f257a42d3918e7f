"""`longshore` as it is, but for the record of calls, of which it keeps nothing: what the record costs is the difference.

python -m bench.without_trail serve ...
"""

from __future__ import annotations

import sys
from typing import Any

from longshore.cli.main import main
from longshore.gateway.dispatch import Dispatcher


def _tell(self: Dispatcher, *told: Any) -> None:
    pass


if __name__ == "__main__":
    Dispatcher.tell = _tell  # type: ignore[method-assign]
    sys.exit(main())
