"""`/health`: for whoever watches the hub. Public, without an envelope, and outside `/api/v1`.

`/health` and `/health/live` say that the process answers; `/health/ready` that it can serve, which ends when
the database is away and as soon as the hub begins to stop.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from core import health
from core.errors import HubError
from core.platform import Platform
from hub.answers import JSON, send_answer
from hub.authentication import NOBODY

OK: Final = b'{"status":"ok"}'
UNAVAILABLE: Final = b'{"status":"unavailable"}'
_PATIENCE: Final = 2.0


class Live:
    """Answers as long as the event loop turns."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say so."""
        await send_answer(send, 200, [JSON], OK)


class Ready:
    """Asks the database."""

    def __init__(self, platform: Platform, stopping: Callable[[], bool]) -> None:
        self._platform = platform
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say whether requests should come here."""
        if self._stopping() or not await self._answers():
            await send_answer(send, 503, [JSON], UNAVAILABLE)
        else:
            await send_answer(send, 200, [JSON], OK)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._platform.read(NOBODY, health.ping, None)
        except (HubError, TimeoutError):
            return False
        return True


PATHS: Final = ("/health", "/health/live", "/health/ready")


def routes(platform: Platform, stopping: Callable[[], bool]) -> Sequence[BaseRoute]:
    """The three routes."""
    live, ready = Live(), Ready(platform, stopping)
    return [Route(path, ready if path == "/health/ready" else live, methods=["GET"]) for path in PATHS]
