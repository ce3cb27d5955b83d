"""One running command: its own session and process group, its pipes, and a sure way to end it."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

SHIM = Path(__file__).with_name("shim.py")


class Process:
    """A command that was started. Its standard output and error are read from `out` and `err`."""

    def __init__(
        self, process: asyncio.subprocess.Process, out: asyncio.StreamReader, err: asyncio.StreamReader
    ) -> None:
        self.out = out
        self.err = err
        self._process = process
        self._ended = False

    async def wait(self) -> int:
        """Its exit status; negative for the signal that ended it. What it left behind is killed."""
        status = await self._process.wait()
        self.kill()
        self._ended = True  # from here on its group's number may belong to somebody else
        return status

    def terminate(self, grace_seconds: float) -> None:
        """Ask the whole group to end, and kill what has not ended after the grace."""
        self._signal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(grace_seconds, self.kill)

    def kill(self) -> None:
        """Kill the whole group."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


@asynccontextmanager
async def running(
    argv: Sequence[str],
    *,
    directory: str,
    stdin: bytes,
    environ: Mapping[str, str],
    open_files: int,
    largest_file: int,
) -> AsyncGenerator[Process, None]:
    """Run the command in `directory` with `stdin` to read. No process of its group outlives the block."""
    shim = (sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), str(open_files), str(largest_file))
    async with _pipe() as (out, out_end), _pipe() as (err, err_end):
        # A file instead of a pipe: a command that does not read its input blocks nobody.
        with tempfile.TemporaryFile() as task, out_end, err_end:
            task.write(stdin)
            task.seek(0)
            started = await asyncio.create_subprocess_exec(
                *shim,
                *argv,
                cwd=directory,
                env=dict(environ),
                stdin=task,
                stdout=out_end,
                stderr=err_end,
                start_new_session=True,
            )
        process = Process(started, out, err)
        try:
            yield process
        finally:
            process.kill()
            await asyncio.shield(asyncio.ensure_future(process.wait()))


@asynccontextmanager
async def _pipe() -> AsyncGenerator[tuple[asyncio.StreamReader, IO[bytes]], None]:
    """What a command prints: a reader, and the end for the command, our copy of which is to be closed.

    Not asyncio's own pipes: with those, waiting for a command also waits for whatever inherited its output.
    """
    reader = asyncio.StreamReader()
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb", 0) as writer:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0)
        )
        try:
            yield reader, writer
        finally:
            transport.close()
