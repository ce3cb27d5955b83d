"""The launcher, put together: stdin, stdout, the bridge, the link, and perhaps an agent beside them."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from hub.launcher.bridge import Bridge
from hub.launcher.link import Hub, Link
from hub.launcher.stdio import Writer, read_lines
from schemas.acp import MAX_MESSAGE_BYTES

_FLUSH_SECONDS: Final = 2.0


@dataclass(frozen=True)
class LauncherConfig:
    """What the command line says. `hub` is asked before each try to connect."""

    hub: Callable[[], Hub]
    version: str
    agent: str | None = None
    tags: Sequence[str] = ()
    local_worker: Sequence[str] = field(default=())
    """The command of a worker to run beside the editor; it is told everything by its environment."""


def claim_stdout() -> int:
    """A descriptor for the protocol alone. From now on, whatever else is printed goes to stderr."""
    protocol = os.dup(1)
    os.dup2(2, 1)
    return protocol


async def launch(config: LauncherConfig, stdout: int) -> None:
    """Serve one editor, until it closes our input, stops reading, or ends us by a signal."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    writer = Writer(stdout)
    bridge = Bridge(writer.put, config.version, config.tags, config.agent)
    async with AsyncExitStack() as stack:
        if config.local_worker:
            from hub.launcher.local_worker import LocalWorker

            worker = LocalWorker(config.local_worker, config.hub().api_key)
            stack.push_async_callback(worker.stop)
            await worker.start()
        tasks = [
            asyncio.create_task(read_lines(0, MAX_MESSAGE_BYTES, bridge.hear_editor, bridge.too_long)),
            asyncio.create_task(Link(bridge, config.hub).keep()),
            asyncio.create_task(writer.run()),
            asyncio.create_task(told.wait()),
            asyncio.create_task(writer.broken.wait()),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await writer.flush(_FLUSH_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()
