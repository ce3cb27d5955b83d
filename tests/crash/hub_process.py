"""A hub in a process of its own, to be killed and started again on the same port and database."""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
ADMIN_KEY = "an-admin-key-for-the-crash-test"
START_SECONDS = 30.0


class HubProcess:
    """Starts, is killed, starts again."""

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        core: int | None = None,
        module: Sequence[str] = ("hub",),
        **settings: str,
    ) -> None:
        """With `core` it stays on that one of the machine's cores. `settings` are variables of the hub.

        `module` is what Python runs, with its first arguments.
        """
        self._module = module
        self._core = core
        self._settings = settings
        self.database_url = database_url
        self.log = directory / "hub.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return once it is ready."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", *self._module, "serve", "--json"),
                cwd=self._directory,
                env={
                    **inherited,
                    "PYTHONPATH": str(ROOT),
                    "CROSSDOCK_PORT": str(self._port),
                    "CROSSDOCK_DATABASE_URL": self.database_url,
                    "CROSSDOCK_ADMIN_API_KEY": ADMIN_KEY,
                    "CROSSDOCK_LOG_LEVEL": "warning",
                    **self._settings,
                },
                stdout=log,
                stderr=log,
            )
        if self._core is not None:
            # Before it has threads of its own: they inherit it.
            os.sched_setaffinity(self._process.pid, {self._core})
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
            while not await self._ready(session):
                if self._process.returncode is not None:
                    raise RuntimeError(f"the hub ended by itself:\n{self.log.read_text()[-4000:]}")
                await asyncio.sleep(0.02)

    async def _ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/health/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def kill(self) -> None:
        """SIGKILL, and return once it is dead."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
