"""The connection to the hub: made again whenever it is lost, for as long as the editor is there."""

import asyncio
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from hub.launcher.bridge import Bridge, Gone

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
_LARGEST: Final = 64 * 1024 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_BROKE: Final = frozenset({1002, 1007, 1009, 1011})
"""Codes by which a hub says that it cannot go on with what it was sent, or failed over it."""


@dataclass(frozen=True)
class Hub:
    """Where the hub is, and the key to it."""

    url: str
    api_key: str | None

    @property
    def socket_url(self) -> str:
        """Where it takes ACP."""
        return "ws" + self.url.rstrip("/").removeprefix("http") + "/acp"


def warn(text: str) -> None:
    """A line for whoever reads the editor's log of this program."""
    sys.stderr.write(f"crossdock acp: {text}\n")
    sys.stderr.flush()


class Link:
    """Keeps `bridge` connected. `hub` is asked before each try, since the key may have changed meanwhile."""

    def __init__(self, bridge: Bridge, hub: Callable[[], Hub]) -> None:
        self._bridge = bridge
        self._hub = hub
        self._pause = FIRST_PAUSE
        self._told = False

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            hub = self._hub()
            why = None if hub.api_key else "no key: log in, or set CROSSDOCK_API_KEY"
            if why is None:
                why = await self._once(hub)
            if why is None:
                await self._wait()
                continue
            await self._bridge.refuse(f"The hub at {hub.url} does not let you in ({why}).")
            self._bridge.try_again.clear()
            await self._bridge.try_again.wait()
            self._bridge.try_again.clear()

    async def _wait(self) -> None:
        # A hub waits half a minute for an editor to say who it is; then it need not be asked until it does.
        await self._bridge.begun.wait()
        await asyncio.sleep(self._pause * random.uniform(0.75, 1.25))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _once(self, hub: Hub) -> str | None:
        """One connection, until it is lost. Why the hub does not let us in, if it does not."""
        direct = urlsplit(hub.url).hostname in _LOOPBACK
        try:
            socket = await connect(
                hub.socket_url,
                additional_headers={"Authorization": f"Bearer {hub.api_key}"},
                max_size=_LARGEST,
                compression=None,
                open_timeout=10,
                close_timeout=1,
                proxy=None if direct else True,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            if status in (401, 403):
                return f"HTTP {status}"
            self._say(hub, f"it answers with HTTP {status}")
            return None
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            self._say(hub, str(error) or type(error).__name__)
            return None
        if self._told:
            warn("the hub is there again")
        self._told = False
        await self._serve(socket)
        return None

    def _say(self, hub: Hub, why: str) -> None:
        if not self._told:
            warn(f"the hub at {hub.url} cannot be reached ({why}); trying on")
        self._told = True

    async def _serve(self, socket: ClientConnection) -> None:
        async def send(data: bytes) -> None:
            try:
                await socket.send(data, text=True)
            except ConnectionClosed:
                raise Gone("the connection has ended") from None

        reading = asyncio.create_task(self._read(socket))
        attaching = asyncio.create_task(self._bridge.attach(send))
        try:
            await asyncio.wait({reading, attaching}, return_when=asyncio.FIRST_COMPLETED)
            if attaching.done() and attaching.exception() is None:
                self._pause = FIRST_PAUSE
            await asyncio.wait({reading})
        finally:
            for task in (reading, attaching):
                task.cancel()
            await socket.close()
            code = socket.close_code
            await self._bridge.detach(broke=code in _BROKE)
            results = await asyncio.gather(reading, attaching, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, Gone):
                raise result

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                if isinstance(text, str):
                    await self._bridge.hear_hub(text)
        except ConnectionClosed:
            return
