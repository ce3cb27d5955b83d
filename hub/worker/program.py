"""A command as an executor: one process per task, its lines as messages, its files as artifacts.

The command gets the task as JSON on standard input, an empty directory of its own to work in, and a few
variables of the environment; never the hub's key. This bounds accidents, it is no sandbox.
"""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.client import Claim, Conflict
from hub.worker import files
from hub.worker.output import Output, TooMuch, readable
from hub.worker.process import Process, running
from hub.worker.relay import Relay
from hub.worker.reporter import Reporter, TaskFailed

PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
WITHHELD = ("lease_id", "lease_expires_at", "credentials")
"""What the task's executor has and its command does not need."""
PIPES_SECONDS = 2.0
"""How long to read on after a command has ended; only what left its process group can hold a pipe open."""
INLINE_BYTES = 256 * 1024
"""A longer text travels as a file; escaped sixfold it would not fit into one request."""


@dataclass(frozen=True)
class Limits:
    """What one run of a command may use."""

    line_bytes: int = 1024 * 1024
    output_bytes: int = 64 * 1024 * 1024
    """Of standard output, and of all files together."""
    files: int = 1000
    open_files: int = 1024
    largest_file: int = 1024 * 1024 * 1024
    stop_seconds: float = 10.0
    """Between TERM and KILL."""
    stderr_bytes: int = 4096
    """So much of the end of standard error explains a failure."""


class Program:
    """The executor that runs `argv` for each task. Relative paths in `argv` are the caller's to resolve."""

    def __init__(
        self, argv: Sequence[str], *, environ: Mapping[str, str] | None = None, limits: Limits | None = None
    ) -> None:
        self._argv = list(argv)
        self._environ = dict(passed_on() if environ is None else environ)
        self._limits = limits or Limits()
        self._processes: set[Process] = set()

    def kill(self) -> None:
        """Kill everything that runs, at once."""
        for process in self._processes:
            process.kill()

    async def close(self) -> None:
        """Nothing is left to end: each command ends with its task."""

    async def __call__(self, claim: Claim, reporter: Reporter) -> Any:
        """Run the command for one task. Cancelled, it stops the command and passes on its last words.

        Raises:
            TaskFailed: it ended with another status than 0, or used more than it may.
        """
        limits = self._limits
        output = Output(longest_line=limits.line_bytes, longest_whole=limits.output_bytes)
        stderr = bytearray()
        with tempfile.TemporaryDirectory(prefix="crossdock-", ignore_cleanup_errors=True) as directory:
            async with running(
                self._argv,
                directory=directory,
                stdin=task_on_stdin(claim),
                environ={**self._environ, **_trace(claim), "CROSSDOCK_TASK_ID": claim.id},
                open_files=limits.open_files,
                largest_file=limits.largest_file,
            ) as process:
                self._processes.add(process)
                try:
                    status = await self._follow(process, Relay(reporter), output, stderr)
                finally:
                    self._processes.discard(process)
            await self._files(directory, reporter)
        if status != 0:
            raise TaskFailed(_why(status, stderr))
        return await self._answer(output, reporter)

    async def _follow(self, process: Process, relay: Relay, output: Output, stderr: bytearray) -> int:
        try:
            return await self._read(process, relay, output, stderr)
        except (asyncio.CancelledError, Conflict):
            process.terminate(self._limits.stop_seconds)
            # Once more until the end: what it says while it stops is still part of the task.
            await self._read(process, relay, output, stderr)
            raise

    async def _read(self, process: Process, relay: Relay, output: Output, stderr: bytearray) -> int:
        """Pass on what the command prints until it has ended and everything is said; its exit status."""
        out = asyncio.create_task(_out(process.out, output, relay))
        err = asyncio.create_task(_err(process.err, stderr, self._limits.stderr_bytes))
        ended = asyncio.create_task(process.wait())
        telling = asyncio.create_task(relay.run())
        everything = {out, err, ended, telling}
        try:
            await _first(ended, everything)
            await asyncio.wait({out, err}, timeout=PIPES_SECONDS)
            out.cancel()
            err.cancel()
            await asyncio.wait({out, err})
            if not out.cancelled():
                out.result()
            relay.add(output.close())
            relay.close()
            await telling
            return ended.result()
        except TooMuch as much:
            raise TaskFailed(str(much)) from None
        finally:
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _files(self, directory: str, reporter: Reporter) -> None:
        limits = self._limits
        walk = files.found(directory, most_files=limits.files, most_bytes=limits.output_bytes)
        try:
            while (file := await asyncio.to_thread(next, walk, None)) is not None:
                await reporter.file(file.path, file.content, file.content_type)
        except TooMuch as much:
            raise TaskFailed(str(much)) from None

    async def _answer(self, output: Output, reporter: Reporter) -> Any:
        if len(output.whole) <= INLINE_BYTES:
            return output.value()
        artifact = await reporter.file("output.txt", output.whole, "text/plain; charset=utf-8")
        return {"artifact_id": artifact.id, "size_bytes": len(output.whole)}


def _trace(claim: Claim) -> dict[str, str]:
    """What a program finds of the trace that its task is part of, where OpenTelemetry looks for it."""
    found = claim.raw.get("traceparent")
    return {"TRACEPARENT": found} if isinstance(found, str) else {}


def passed_on(also: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that commands get: a short list, and what the operator names. The hub's own never are."""
    names = {*PASSED_ON, *also}
    return {n: v for n, v in environ.items() if n in names and not n.startswith("CROSSDOCK_")}


def task_on_stdin(claim: Claim) -> bytes:
    """The task as the command reads it: one line of JSON."""
    told = {name: value for name, value in claim.raw.items() if name not in WITHHELD}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


async def _out(reader: asyncio.StreamReader, output: Output, relay: Relay) -> None:
    while chunk := await reader.read(65_536):
        relay.add(output.feed(chunk))


async def _err(reader: asyncio.StreamReader, tail: bytearray, most: int) -> None:
    while chunk := await reader.read(65_536):
        tail += chunk
        del tail[:-most]


async def _first(awaited: "asyncio.Task[int]", others: set["asyncio.Task[Any]"]) -> None:
    """Wait for one task; an error of another one comes first."""
    pending = others
    while not awaited.done():
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _why(status: int, stderr: bytearray) -> str:
    """The failure in words: how it ended, and the last it said about it."""
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        how = f"killed by {name}"
    else:
        how = f"exit status {status}"
    said = readable(bytes(stderr)).strip()
    return f"{how}: {said}" if said else how
