"""`scripts/fuzz`: atheris chooses documents, led by which lines of the policy language they reach; `must_hold` judges them.

One bit tells how the rest is taken: as choices of the generator, or as the text of a document itself.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["longshore.policy", "policy.naive"]):
    from policy.rubbish import Rubbish, must_hold


def one(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    if provider.ConsumeBool():
        must_hold(Rubbish(lambda below: provider.ConsumeIntInRange(0, below - 1)).text())
    else:
        must_hold(provider.ConsumeUnicode(4096))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
