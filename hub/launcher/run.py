"""Runs a bridge: standard input and output on one side, a WebSocket that is opened again on the other."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from hub.launcher.bridge import Bridge, too_long, wants_terminal
from hub.launcher.companion import Companion
from hub.launcher.credentials import Credentials
from hub.launcher.stdio import MOST_BYTES, Out, TooLong, lines

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
PATIENCE: Final = 20.0
"""Seconds for which the first connection may be tried before the editor is told that there is none."""
INTERNAL_ERROR: Final = -32603
REVOKED: Final = 1008
MOST_FROM_HUB: Final = 128 * 1024 * 1024


class Unauthorized(Exception):
    """The hub does not take the key, or there is none."""


@dataclass(frozen=True)
class Launch:
    """How to bridge. `credentials` is asked again whenever the hub refuses those that it gave."""

    credentials: Callable[[], Credentials | None]
    url: str
    version: str
    tags: Sequence[str] = ()
    companion: Sequence[str] | None = None
    """A program beside it, which does the work of its sessions."""


async def run(launch: Launch) -> int:
    """Bridge until the editor closes its end. The exit code is 0."""
    out = Out()
    bridge = Bridge(out.put, launch.tags)
    runner = _Runner(launch, bridge, out)
    async with contextlib.AsyncExitStack() as stack:
        if launch.companion is not None:
            await stack.enter_async_context(Companion(launch.companion))
        tasks = [
            asyncio.create_task(runner.read(), name="the editor"),
            asyncio.create_task(runner.keep_linked(), name="the hub"),
            asyncio.create_task(out.write(), name="to the editor"),
        ]
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        with contextlib.suppress(OSError):
            await out.empty()
        for task in done:
            with contextlib.suppress(BrokenPipeError):
                task.result()
    return 0


class _Runner:
    def __init__(self, launch: Launch, bridge: Bridge, out: Out) -> None:
        self._launch = launch
        self._bridge = bridge
        self._out = out
        self._asked = asyncio.Event()
        self._link: ClientConnection | None = None

    async def read(self) -> None:
        """Take what the editor says until it says no more."""
        async for line in lines():
            if isinstance(line, TooLong):
                self._out.put(too_long(MOST_BYTES))
                continue
            for text in self._bridge.from_editor(line):
                await self._send(text)
            self._asked.set()

    async def keep_linked(self) -> None:
        """Open the link, and open it again, as long as the editor is there."""
        pause, began = FIRST_PAUSE, asyncio.get_running_loop().time()
        while True:
            while self._bridge.hello is None:
                self._asked.clear()
                await self._asked.wait()
            try:
                await self._linked()
                pause = FIRST_PAUSE
            except Unauthorized as refused:
                self._refuse(str(refused))
                self._asked.clear()
                await self._asked.wait()
                if self._bridge.waits:
                    await asyncio.sleep(0)
            except (OSError, TimeoutError, WebSocketException) as error:
                self._say(f"no connection to {self._launch.url}: {_reason(error)}; trying again")
                waited = asyncio.get_running_loop().time() - began
                if not self._bridge.greeted and waited > PATIENCE:
                    self._bridge.give_up(INTERNAL_ERROR, f"The hub at {self._launch.url} cannot be reached.")
            finally:
                self._bridge.unlink()
                self._link = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _linked(self) -> None:
        """One connection, from its greeting to its end.

        Raises:
            Unauthorized: the hub does not take the key.
            OSError, WebSocketException: it cannot be reached.
        """
        found = self._launch.credentials()
        if found is None:
            raise Unauthorized("No key for the hub. Run: crossdock acp login")
        headers = {"Authorization": f"Bearer {found.api_key}"}
        url = f"{found.url.replace('http', 'ws', 1)}/acp"
        try:
            link = await connect(
                url,
                additional_headers=headers,
                compression=None,
                max_size=MOST_FROM_HUB,
                user_agent_header=f"crossdock-acp/{self._launch.version}",
                proxy=None,
                open_timeout=10,
                ping_interval=20,
                ping_timeout=20,
                close_timeout=1,
            )
        except InvalidStatus as refused:
            if refused.response.status_code in (401, 403):
                raise Unauthorized("The hub does not take this key. Run: crossdock acp login") from refused
            raise
        try:
            self._link = link
            await link.send(self._bridge.greet())
            async for frame in link:
                text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
                for answer in self._bridge.from_hub(text):
                    await link.send(answer)
                await self._out.room()
        except ConnectionClosed:
            pass
        finally:
            await link.close()
        if link.close_code == REVOKED and "credential" in (link.close_reason or ""):
            raise Unauthorized("The key is no longer valid. Run: crossdock acp login")

    async def _send(self, text: str) -> None:
        link = self._link
        if link is None:
            return  # it is kept until there is one
        with contextlib.suppress(ConnectionClosed):
            await link.send(text)

    def _refuse(self, why: str) -> None:
        self._say(why)
        self._bridge.refuse(self._launch.version, why, terminal=wants_terminal(self._bridge.hello))

    def _say(self, text: str) -> None:
        sys.stderr.write(f"crossdock acp: {text}\n")
        sys.stderr.flush()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
