"""Backs up, or restores, again and again; each time it is killed at the next of the moments at which it touches the disk.

dying.py backup STATE FOLDER    writes FOLDER/<number>/backup, and is killed before the touch of that number
dying.py restore FILE FOLDER    restores into FOLDER/<number>

Prints how many were killed; the one after those came to its end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from longshore.server.backup import back_up, restore

_TOUCHES = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "sqlite3.connect", "shutil.rmtree"}


def main(what: str, given: Path, folder: Path) -> int:
    number = 0
    while True:
        place = folder / str(number)
        place.mkdir()
        child = os.fork()
        if child == 0:
            _die_at(number)
            if what == "backup":
                back_up(given, place / "backup")
            else:
                restore(given, place)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            print(number)
            return 0
        if not os.WIFSIGNALED(status):
            return 1
        number += 1


def _die_at(number: int) -> None:
    touches = 0

    def hear(event: str, arguments: object) -> None:
        nonlocal touches
        if event in _TOUCHES:
            if touches == number:
                os.kill(os.getpid(), signal.SIGKILL)
            touches += 1

    sys.addaudithook(hear)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
