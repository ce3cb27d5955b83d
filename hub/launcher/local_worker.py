"""A worker beside the editor, which does the turns of its sessions where the user's files are."""

import asyncio
import hashlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_OPEN_FILES, _LARGEST_FILE = "8192", str(16 * 1024**3)
_GRACE_SECONDS: Final = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class LocalWorker:
    """Runs a worker, and runs it again when it ends. It does not outlive this program."""

    def __init__(self, argv: Sequence[str], api_key: str | None) -> None:
        self._argv = list(argv)
        self._environ = os.environ | ({} if api_key is None else {"CROSSDOCK_API_KEY": api_key})
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it."""
        self._keeping = asyncio.create_task(self._keep(), name="a worker beside the editor")

    async def stop(self) -> None:
        """End it: what it does is given to another, or done again, when its lease ends."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        for number in (
            signal.SIGTERM,
            signal.SIGTERM,
            signal.SIGKILL,
        ):  # the second time, it waits for nothing
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_SECONDS if number != signal.SIGTERM else 0.2):
                    await process.wait()
                    return

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._process = await asyncio.create_subprocess_exec(
                *_watched(self._argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,
                stderr=2,
                env=self._environ,
                start_new_session=True,
            )
            await self._process.wait()
            sys.stderr.write(f"crossdock acp: the local worker ended ({self._process.returncode}); again\n")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def tag_of(command: str) -> str:
    """What such a worker of this user on this machine offers, and nobody else does; the same every time."""
    who = f"{socket.gethostname()}\n{os.getuid()}\n{command}"
    return f"local:{hashlib.sha256(who.encode()).hexdigest()[:16]}"


def _watched(argv: Sequence[str]) -> list[str]:
    """The command under the shim by which it is killed when this program is, in whatever way."""
    shim = Path(__file__).parents[1] / "worker" / "shim.py"
    return [sys.executable, "-I", "-S", str(shim), str(os.getpid()), _OPEN_FILES, _LARGEST_FILE, *argv]
