"""What is answered beside AWS's own: health, readiness, figures, and the reset of a server for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import REGISTRY, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_LOOPBACK = ("127.", "::1")


def create_pages(is_ready: Callable[[], bool], reset: Callable[[], Awaitable[None]] | None) -> Starlette:
    """`reset` None: this server was not started for tests, and the page does not exist."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("ready\n") if is_ready() else PlainTextResponse("starting\n", 503)

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(generate_latest(REGISTRY), media_type="text/plain; version=0.0.4")

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    if reset is not None:
        do_reset = reset

        async def on_reset(request: Request) -> Response:
            if request.client is None or not request.client.host.startswith(_LOOPBACK):
                return JSONResponse({"message": "reset is offered on loopback only"}, 403)
            await do_reset()
            return JSONResponse({})

        routes.append(Route("/_longshore/reset", on_reset, methods=["POST"]))
    return Starlette(routes=routes)
