"""An editor's launcher in a process of its own, and the REST API of a hub that comes and goes."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from tests.adapters.acp.editor import Editor
from tests.crash.hub_process import ADMIN_KEY, ROOT
from tests.hub.api.hub import Answer

SECONDS = 40.0


class Rest:
    """Repeats what may be repeated for as long as the hub is away."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def send(self, method: str, path: str, *, key: str, json: Any = None) -> Answer:
        """One request, under a key by which it happens once."""
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(uuid4())}
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    async with self._session.request(
                        method, self._url + path, json=json, headers=headers
                    ) as got:
                        answer = Answer(got.status, dict(got.headers), await got.read())
                    if answer.status not in (502, 503, 504):
                        return answer
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    async def post(self, path: str, json: Any = None, *, key: str = ADMIN_KEY) -> Answer:
        """POST below `/api/v1`."""
        return await self.send("POST", f"/api/v1{path}", json={} if json is None else json, key=key)

    async def get(self, path: str, *, key: str = ADMIN_KEY) -> Any:
        """The data of a GET below `/api/v1`."""
        return (await self.send("GET", f"/api/v1{path}", key=key)).data

    async def agent(self, **fields: Any) -> Mapping[str, Any]:
        """Register an agent."""
        made: Mapping[str, Any] = (await self.post("/agents/register", fields)).data
        return made

    async def key_of(self, owner: str) -> str:
        """A key for somebody with an editor."""
        body = {"scope": "agent", "owner_type": "user", "owner_id": owner}
        key: str = (await self.post("/api-keys", body)).data["api_key"]
        return key


class Launcher:
    """`crossdock acp`, as an editor starts it."""

    def __init__(
        self, url: str, key: str | None, home: Path, heard: Callable[[Any], None], *options: str
    ) -> None:
        self._argv = [sys.executable, "-P", "-m", "hub", "acp", "--url", url, *options]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
        self._environ = kept | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(home)}
        if key is not None:
            self._environ["CROSSDOCK_API_KEY"] = key
        self._home = home
        self._heard = heard
        self._reading: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.strange: list[bytes] = []
        """What came on stdout and is no message."""

    @property
    def log(self) -> Path:
        """Its stderr."""
        return self._home / "launcher.log"

    async def open(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._environ,
                cwd=self._home,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=64 * 1024 * 1024,
            )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            try:
                self._heard(json.loads(line))
            except ValueError:
                self.strange.append(line)

    async def send(self, message: Any) -> None:
        """One line."""
        await self.write((message if isinstance(message, str) else json.dumps(message)).encode() + b"\n")

    async def write(self, data: bytes) -> None:
        """Bytes."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def kill(self) -> None:
        """SIGKILL, and return once it is dead."""
        assert self.process is not None
        self.process.kill()
        await self._ended()

    async def close(self) -> None:
        """Close its input, as an editor does that ends."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self._ended()

    async def _ended(self) -> None:
        assert self.process is not None
        assert self._reading is not None
        async with asyncio.timeout(SECONDS):
            await self.process.wait()
            await self._reading
        assert not self.strange


async def launched(url: str, key: str | None, home: Path, *options: str) -> tuple[Editor, Launcher]:
    """An editor that talks to the hub through the launcher, initialized."""
    made: list[Launcher] = []

    def wire(hear: Callable[[Any], None]) -> Launcher:
        made.append(Launcher(url, key, home, hear, *options))
        return made[0]

    editor = Editor(wire)
    await editor.wire.open()
    editor.initialized = await editor.call("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
    return editor, made[0]
