"""One request to a house that no server has: answered in this process, by the same chain, and nothing set in motion.

For commands that change what is kept while no server runs. The folder is held meanwhile, so that none starts beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from longshore.aws.ids import Ids
from longshore.aws.sigv4 import sign
from longshore.aws.wire.http import HttpRequest
from longshore.server import keys
from longshore.server.assemble import Assembly
from longshore.server.run import held
from longshore.server.whereabouts import read_whereabouts
from longshore.settings import Settings
from longshore.store.engine import open_store
from longshore.world import SystemClock, SystemEntropy


def answer(state: Path, root: keys.RootKeys, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """(status, answer) to the root user of the first account. CannotStart: a server has the folder, or nothing is in it."""
    import asyncio

    with held(state / "lock"):
        there = read_whereabouts(state)
        settings = Settings(state=state, machines="none", region=there.region, account=there.account)
        clock, ids, store = SystemClock(), Ids(SystemEntropy()), open_store(state / "longshore.db")
        try:
            assembly = Assembly(
                settings=settings,
                store=store,
                clock=clock,
                ids=ids,
                sealer=keys.sealer(state),
                identity_documents=keys.identity_documents(state),
                root_keys=root,
            )
            url = there.endpoint + path
            headers = sign(
                method, url, {}, body, "longshore", there.region, root.access_key_id, root.secret_access_key, None,
                clock.now(),
            )  # fmt: skip
            sent = HttpRequest(
                method=method,
                path=urlsplit(url).path,
                query_string="",
                headers=headers,
                body=body,
                source_ip="127.0.0.1",
            )
            answered = asyncio.run(assembly.gateway.handle(sent, there.endpoint))
        finally:
            store.close()
    return answered.status, msgspec.json.decode(answered.body, type=dict[str, Any])
