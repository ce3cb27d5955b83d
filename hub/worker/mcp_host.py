"""Hosts an MCP server: runs its program, one for each session of the hub, and carries what is said both ways.

The worker asks the hub for work over its own connection, and holds a lease by asking. Whoever has lost the
lease ends every program; a program whose worker dies is ended with all that it has started (`acp/warden.py`).
"""

import asyncio
import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from hub.client import Conflict, Crossdock, CrossdockError, Forbidden, NotFound, Unauthorized
from hub.client.hosting import Frame, Hosting
from hub.client.transport import Backoff
from hub.worker.acp.process import Process, TooLong

WAIT_SECONDS: Final = 10
GRACE_SECONDS: Final = 5.0
"""From the end of its input to the end of a program."""
MOST_AT_ONCE: Final = 64
MOST_CHARACTERS: Final = 10 * 1024 * 1024
_REMEMBERED: Final = 10_000


class HostingLost(Exception):
    """The server is hosted by somebody else now, or was removed. Its text is for the operator."""


@dataclass(frozen=True)
class McpHostConfig:
    """What to host, and for which hub."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    places: int = 4
    slug: str | None = None
    description: str | None = None


class FrameIds:
    """Ids that grow, whatever the clock does."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        """The next one."""
        self._last = max(self._last + 1, time.time_ns() << 64)
        return str(UUID(int=self._last))


@dataclass
class _Run:
    """One program, and what it is still to be told."""

    inbox: "asyncio.Queue[str | None]" = field(default_factory=asyncio.Queue)
    running: "asyncio.Task[None] | None" = None


class McpHost:
    """The programs of one hosted server."""

    def __init__(self, hub: Crossdock, config: McpHostConfig, *, tell: Callable[[str], None]) -> None:
        self._hub = hub
        self._config = config
        self._tell = tell
        self._runs: dict[str, _Run] = {}
        self._outbox: asyncio.Queue[Frame] = asyncio.Queue(1024)
        self._ids = FrameIds()
        self._done: OrderedDict[str, None] = OrderedDict()

    async def run(self, drain: asyncio.Event) -> None:
        """Host until drained.

        Raises:
            HostingLost: it is somebody else's now.
            Unauthorized, Forbidden: the hub does not let it host.
        """
        hosting = await self._begin()
        self._tell(f"hosting {hosting.slug}, at most {self._config.places} programs at once")
        work = asyncio.create_task(self._work(hosting), name="hosting")
        giving = asyncio.create_task(self._give(hosting), name="giving")
        draining = asyncio.ensure_future(drain.wait())
        working: list[asyncio.Future[Any]] = [work, giving, draining]
        try:
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in (work, giving):
                if task.done():
                    task.result()
        except (Conflict, NotFound) as error:
            raise HostingLost(f"the hosting is lost: {error.message}") from error
        finally:
            for each in working:
                each.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await self._end_all()
            with contextlib.suppress(CrossdockError, TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):
                    await self._hub.hostings.release(hosting)

    async def _begin(self) -> Hosting:
        backoff, config = Backoff(), self._config
        while True:
            try:
                return await self._hub.hostings.create(
                    config.name, slug=config.slug, description=config.description, places=config.places
                )
            except (Unauthorized, Forbidden):
                raise
            except Conflict as error:
                raise HostingLost(error.message) from error
            except CrossdockError as error:
                await asyncio.sleep(backoff.pause(error))

    async def _work(self, hosting: Hosting) -> None:
        """Do what the hub asks for."""
        taken: list[str] = []
        backoff = Backoff()
        while True:
            try:
                work = await self._hub.hostings.next(hosting, taken=taken, wait_seconds=WAIT_SECONDS)
            except (Conflict, NotFound, Unauthorized, Forbidden):
                raise
            except CrossdockError as error:
                await asyncio.sleep(backoff.pause(error))
                continue
            backoff, taken = Backoff(), [frame.id for frame in work.frames]
            for frame in work.frames:
                if frame.id not in self._done:  # it comes again when an answer was lost
                    self._remember(frame.id)
                    self._act(frame, work.environment)

    def _remember(self, frame_id: str) -> None:
        self._done[frame_id] = None
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)

    def _act(self, frame: Frame, environment: Mapping[str, str]) -> None:
        run = self._runs.get(frame.channel_id)
        if frame.kind == "open" and run is None:
            run = self._runs[frame.channel_id] = _Run()
            name = f"program {frame.channel_id}"
            run.running = asyncio.create_task(self._run(frame.channel_id, run, environment), name=name)
        elif run is not None:
            run.inbox.put_nowait(frame.body if frame.kind == "message" else None)

    async def _run(self, channel_id: str, run: _Run, environment: Mapping[str, str]) -> None:
        """One program, from its start to its end."""
        reason = "its program has ended"
        process: Process | None = None
        try:
            process = await Process.start(
                self._config.argv,
                directory=os.getcwd(),
                environ={**self._config.environ, **environment},
            )
            self._tell(f"a session has begun ({len(self._runs)} of {self._config.places})")
            feeding = asyncio.create_task(self._feed(run, process))
            reading = asyncio.create_task(self._read(channel_id, process))
            try:
                await asyncio.wait({feeding, reading}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
            finally:
                for task in (feeding, reading):
                    task.cancel()
                await asyncio.gather(feeding, reading, return_exceptions=True)
        except TooLong:
            reason = "its program wrote a line that is too long"
        except OSError as error:
            reason = f"its program cannot be run: {error.strerror or error}"
        finally:
            if process is not None:
                await process.close(GRACE_SECONDS)
            self._runs.pop(channel_id, None)
        self._tell(f"a session has ended: {reason}")
        await self._say(channel_id, "close", reason)

    async def _feed(self, run: _Run, process: Process) -> None:
        """Tell a program what the hub says, until it is to end."""
        while (message := await run.inbox.get()) is not None:
            await process.write(message.encode())

    async def _read(self, channel_id: str, process: Process) -> None:
        """Take what a program says, until it ends."""
        async for line in process.lines():
            text = line.decode("utf-8", "replace").strip()
            if text.startswith("{"):  # whatever else is there was meant for a log
                await self._say(channel_id, "message", text)

    async def _say(self, channel_id: str, kind: str, body: str) -> None:
        await self._outbox.put(Frame(self._ids(), channel_id, kind, body))

    async def _give(self, hosting: Hosting) -> None:
        """Carry what programs say to the hub, in order, each until the hub has it."""
        while True:
            frames = [await self._outbox.get()]
            size = len(frames[0].body or "")
            while len(frames) < MOST_AT_ONCE and size < MOST_CHARACTERS // 4 and not self._outbox.empty():
                frames.append(self._outbox.get_nowait())
                size += len(frames[-1].body or "")
            backoff = Backoff()
            while True:
                try:
                    await self._hub.hostings.give(hosting, frames)
                    break
                except (Conflict, NotFound, Unauthorized, Forbidden):
                    raise
                except CrossdockError as error:
                    await asyncio.sleep(backoff.pause(error))

    async def _end_all(self) -> None:
        running = [run.running for run in self._runs.values() if run.running is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def host_mcp(
    config: McpHostConfig, *, url: str, api_key: str, drain: asyncio.Event, tell: Callable[[str], None]
) -> None:
    """Host a server for a hub until drained. Raises as `McpHost.run`."""
    unreached = {False: "the hub does not answer; trying again", True: "the hub answers again"}
    async with Crossdock(
        url,
        api_key,
        user_agent="crossdock-worker",
        on_reach=lambda reached: tell(unreached[reached]),
    ) as hub:
        await McpHost(hub, config, tell=tell).run(drain)
