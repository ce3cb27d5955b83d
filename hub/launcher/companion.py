"""A program that lives as long as the launcher: started with it, stopped with it, killed if need be."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

GRACE: Final = 5.0
"""Seconds between TERM and KILL."""


class Companion:
    """Starts a program in a process group of its own. What it prints goes to stderr."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        # It reads from a pipe that this process holds: when the launcher dies, it sees the end of it.
        self._process = await asyncio.create_subprocess_exec(
            *self._argv, stdin=asyncio.subprocess.PIPE, stdout=sys.stderr, start_new_session=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
