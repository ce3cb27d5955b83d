"""`crossdock mcp`, put together: stdin, stdout, and the bridge between them and the hub."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from hub.launcher.link import Hub
from hub.launcher.mcp_bridge import McpBridge
from hub.launcher.stdio import Writer, read_lines

_LONGEST: Final = 16 * 1024 * 1024
_FLUSH_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 10.0
"""How long answers are waited for after the host has closed its end."""


async def launch_mcp(hub: Callable[[], Hub], path: str, stdout: int) -> None:
    """Serve one host, until it closes our input, stops reading, or ends us by a signal."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    writer = Writer(stdout)
    bridge = McpBridge(hub, path, writer.put)
    reading = asyncio.create_task(read_lines(0, _LONGEST, bridge.hear, bridge.too_long))
    tasks = [
        reading,
        asyncio.create_task(writer.run()),
        asyncio.create_task(told.wait()),
        asyncio.create_task(writer.broken.wait()),
    ]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if ended == {reading}:
            await bridge.settle(_ANSWER_SECONDS)
        await writer.flush(_FLUSH_SECONDS)
    finally:
        await bridge.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
