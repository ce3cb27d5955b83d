"""One running program: its pipes, its bounds, and a sure end for it and all that it has started."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

WARDEN: Final = Path(__file__).with_name("warden.py")
TERMINATE: Final = b"T"
CHUNK: Final = 65_536
OPEN_FILES: Final = 8192
LARGEST_FILE: Final = 16 * 1024**3
LINE_BYTES: Final = 14 * 1024 * 1024
"""A message that is longer would not fit into one request to the hub."""
STDERR_BYTES: Final = 4096
"""So much of the end of standard error explains a failure."""


class TooLong(Exception):
    """The program wrote a line that is longer than it may be."""


class Process:
    """A program that was started. What it writes must be read, or it comes to a halt.

    It ends, with everything that it started, when `kill` says so, and when the worker dies in whatever way.
    """

    def __init__(self, warden: asyncio.subprocess.Process, lifeline: int) -> None:
        self._warden = warden
        self._lifeline: int | None = lifeline
        self._writing = asyncio.Lock()
        self._stderr = bytearray()
        self._hearing = asyncio.create_task(self._hear(), name="an agent's standard error")

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        directory: str,
        environ: Mapping[str, str],
        stdin: bool = True,
        merged: bool = False,
    ) -> "Process":
        """Run a program. Without `stdin` it reads nothing; `merged`: its two outputs are one."""
        watched, lifeline = os.pipe()
        started: asyncio.subprocess.Process | None = None
        try:
            started = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(WARDEN)),
                *(str(watched), str(OPEN_FILES), str(LARGEST_FILE)),
                *argv,
                cwd=directory,
                env=dict(environ),
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT if merged else asyncio.subprocess.PIPE,
                pass_fds=(watched,),
                start_new_session=True,
            )
        finally:
            os.close(watched)
            if started is None:
                os.close(lifeline)
        return cls(started, lifeline)

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._warden.returncode is not None

    @property
    def stderr(self) -> str:
        """The end of what it said beside the protocol."""
        return bytes(self._stderr).decode(errors="replace").strip()

    async def write(self, line: bytes) -> None:
        """Write a line; returns when there is room for more.

        Raises:
            OSError: it does not read any more.
        """
        stdin = self._warden.stdin
        assert stdin is not None, "it was started with standard input"
        async with self._writing:
            if stdin.is_closing() or self.ended:
                raise BrokenPipeError("it has ended")
            try:
                stdin.write(line + b"\n")
                await stdin.drain()
            except RuntimeError as error:  # uvloop's word for a pipe that has just been closed
                raise BrokenPipeError("it has ended") from error

    async def lines(self) -> AsyncIterator[bytes]:
        """What it writes, line by line, until it closes its standard output.

        Raises:
            TooLong: a line has more than `LINE_BYTES`.
        """
        buffer, searched = bytearray(), 0
        while chunk := await self.read():
            buffer += chunk
            start = 0
            while (end := buffer.find(b"\n", max(searched, start))) >= 0:
                if end > start:
                    yield bytes(buffer[start:end])
                start = end + 1
            del buffer[:start]
            searched = len(buffer)
            if searched > LINE_BYTES:
                raise TooLong(f"it wrote a line of more than {LINE_BYTES} bytes")
        if buffer:
            yield bytes(buffer)

    async def read(self) -> bytes:
        """Some of what it writes; empty when it has closed its standard output."""
        assert self._warden.stdout is not None, "it was started with standard output"
        return await self._warden.stdout.read(CHUNK)

    async def discard(self) -> None:
        """End it, and read what it wrote last: a pipe that nobody reads to its end is never closed."""
        self.kill()
        while await self.read():
            pass

    async def wait(self) -> int:
        """Its exit status; negative for the signal that ended it. What it started has ended too."""
        status = await self._warden.wait()
        self.kill()
        return status

    def terminate(self) -> None:
        """Ask its process group to end."""
        if self._lifeline is not None:
            with suppress(OSError):
                os.write(self._lifeline, TERMINATE)

    def kill(self) -> None:
        """End it and everything that it started, at once."""
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    async def close(self, grace_seconds: float) -> None:
        """Close its standard input, which asks an agent to end, and kill it after the grace."""
        if self._warden.stdin is not None:
            self._warden.stdin.close()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._warden.wait()
        except TimeoutError:
            pass
        finally:
            self.kill()
            await asyncio.shield(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        await self._warden.wait()
        self._hearing.cancel()
        await asyncio.gather(self._hearing, return_exceptions=True)

    async def _hear(self) -> None:
        if self._warden.stderr is None:
            return
        while chunk := await self._warden.stderr.read(CHUNK):
            self._stderr += chunk
            del self._stderr[:-STDERR_BYTES]
