"""A hub as a child process, on a free port, that can be killed and started again on the same data."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp

START_SECONDS = 20.0


class HubDied(RuntimeError):
    """The hub ended, or did not begin to answer in time. The message holds what it said last."""


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class HubProcess:
    """One hub over one directory. Its database, secret and log are there."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_key = "demo-" + secrets.token_urlsafe(32)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id of the hub that runs now."""
        assert self._process is not None, "start it first"
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return when it is ready.

        Raises:
            HubDied: it ended, or was not ready in time.
        """
        log = (self.directory / "hub.log").open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "hub",
                "serve",
                "--port",
                str(self.port),
                "--db",
                f"sqlite:///{self.directory / 'crossdock.db'}",
                cwd=self.directory,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        finally:
            log.close()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready()
        except TimeoutError:
            await self.kill()
            raise HubDied(
                f"the hub was not ready within {START_SECONDS:.0f} s\n{self.last_words()}"
            ) from None

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [inherited.get("PYTHONPATH")])]
        return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "CROSSDOCK_ADMIN_API_KEY": self.admin_key}

    async def _ready(self) -> None:
        assert self._process is not None
        async with aiohttp.ClientSession() as session:
            while True:
                if self._process.returncode is not None:
                    raise HubDied(f"the hub ended with {self._process.returncode}\n{self.last_words()}")
                try:
                    async with session.get(f"{self.url}/health/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.03)

    async def kill(self) -> None:
        """SIGKILL: no goodbye, no flush, no handler. Returns when it is gone."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to stop, and wait."""
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def last_words(self) -> str:
        """The end of the hub's log."""
        path = self.directory / "hub.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-20:]) if path.exists() else ""

    async def __aenter__(self) -> "HubProcess":
        await self.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.stop()
