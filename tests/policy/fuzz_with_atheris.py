"""`scripts/fuzz`: atheris chooses documents, led by which lines of the policy language they reach; `must_hold` judges them.

One bit tells how the rest is taken: as choices of the generator, or as the text of a document itself. What is worth keeping of
the documents that were found stands in `found_documents.json`: every run of the tests judges those (`test_fuzz.py`), and
atheris starts from them.

    fuzz_with_atheris.py --seeds FOLDER      writes them as atheris wants them
    fuzz_with_atheris.py --keep FOLDER       puts the documents of that corpus among them
    fuzz_with_atheris.py FOLDER...           fuzzes; all else is libFuzzer's
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["longshore.policy", "policy.naive"]):
    from policy.rubbish import Rubbish, must_hold

KEPT = Path(__file__).parent / "found_documents.json"
_KEPT_LENGTH_MAX = 250  # the longer ones reach little more
_IS_TEXT = b"\x00"  # what ConsumeBool takes for no
_IS_ASCII = b"\x01"  # how ConsumeUnicode is told that a character is a byte


def document_of(data: bytes) -> str:
    provider = atheris.FuzzedDataProvider(data)
    if provider.ConsumeBool():
        return Rubbish(lambda below: provider.ConsumeIntInRange(0, below - 1)).text()
    return str(provider.ConsumeUnicode(4096))


def kept() -> list[str]:
    return list(json.loads(KEPT.read_text())) if KEPT.exists() else []


def write_seeds(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(kept()):
        if text.isascii():
            (folder / f"kept-{number:04}").write_bytes(_IS_TEXT + _IS_ASCII + text.encode())


def keep(folder: Path) -> None:
    texts = {document_of(path.read_bytes()) for path in folder.iterdir()} | set(kept())
    wanted = sorted(text for text in texts if text and len(text) <= _KEPT_LENGTH_MAX)
    KEPT.write_text(json.dumps(wanted, indent=0) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--seeds", folder]:
            write_seeds(Path(folder))
        case ["--keep", folder]:
            keep(Path(folder))
        case _:
            atheris.Setup(sys.argv, lambda data: must_hold(document_of(data)) and None)
            atheris.Fuzz()
