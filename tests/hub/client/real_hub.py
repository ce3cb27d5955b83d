"""The hub as a process of its own, on SQLite, for tests of what talks to it from outside."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from hub.client import Crossdock

ADMIN_KEY = "an-admin-key-for-this-test"
HUB = [sys.executable, "-P", "-m", "hub"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}


class Hub:
    """A hub in a directory of its own, which can be killed and started again where it was."""

    def __init__(self, directory: Path) -> None:
        self.url = ""
        self._directory = directory
        self._process: Process | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What a program beside it needs to know."""
        return {**CLEAN, "CROSSDOCK_URL": self.url, "CROSSDOCK_API_KEY": ADMIN_KEY}

    def client(self) -> Crossdock:
        """A client with the operator's key."""
        return Crossdock(environ=self.environ)

    async def start(self) -> None:
        """Start it, at the address of before."""
        port = self.url.rpartition(":")[2] or "0"
        self._process = await asyncio.create_subprocess_exec(
            *HUB,
            *("serve", "--port", port, "--json"),
            cwd=self._directory,
            env={**CLEAN, "CROSSDOCK_ADMIN_API_KEY": ADMIN_KEY},
            stdout=PIPE,
        )
        assert self._process.stdout is not None
        self.url = json.loads(await self._process.stdout.readline())["url"]

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


@asynccontextmanager
async def real_hub(directory: Path) -> AsyncGenerator[Hub, None]:
    """A hub for as long as the block."""
    hub = Hub(directory)
    try:
        async with asyncio.timeout(30):
            await hub.start()
        yield hub
    finally:
        await hub.kill()
