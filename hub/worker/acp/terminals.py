"""The terminals that an agent asks its client for: commands in the workspace, bounded, and ended with it."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from hub.worker.acp.jail import Jail
from hub.worker.acp.process import Process

TERMINALS: Final = 32
"""Of one session, released ones not counted."""
OUTPUT_BYTES: Final = 1024 * 1024
"""So much of the end of a command's output is kept at most."""
LINUX: Final = sys.platform == "linux"
SHELL_SIGNS: Final = frozenset("|&;<>()$`\\\"'*?[]#~=% \t\n")


class TooMany(Exception):
    """The session has as many terminals as it may."""


class Unknown(Exception):
    """There is no such terminal."""


class Terminal:
    """One command. Its output is read whether anybody asks for it or not."""

    def __init__(self, process: Process, most: int) -> None:
        self._process = process
        self._most = most
        self._output = bytearray()
        self._truncated = False
        self.status: int | None = None
        self.reading = asyncio.create_task(self._read(), name="a terminal")

    def shown(self) -> dict[str, Any]:
        """The result of `terminal/output`."""
        kept, truncated = tail(bytes(self._output), self._most)
        said: dict[str, Any] = {
            "output": kept.decode(errors="replace"),
            "truncated": truncated or self._truncated,
        }
        if self.status is not None:
            said["exitStatus"] = exit_status(self.status)
        return said

    def kill(self) -> None:
        """End the command; what it wrote stays."""
        self._process.kill()

    async def _read(self) -> None:
        while chunk := await self._process.read():
            self._output += chunk
            if len(self._output) > 2 * self._most + 4:
                kept, cut = tail(bytes(self._output), self._most)
                self._output, self._truncated = bytearray(kept), self._truncated or cut
        self.status = await self._process.wait()


class Terminals:
    """The terminals of one session."""

    def __init__(self, jail: Jail, environ: Mapping[str, str]) -> None:
        self._jail = jail
        self._environ = environ
        self._open: dict[str, Terminal] = {}
        self._starting = 0

    async def create(
        self,
        command: str,
        args: Sequence[str],
        *,
        directory: str,
        variables: Mapping[str, str],
        most: int | None = None,
    ) -> str:
        """Start a command; the id of its terminal.

        Raises:
            TooMany: there are too many.
            Outside, Missing, Unfit: the directory cannot be had.
            OSError: the command cannot be started.
        """
        if len(self._open) + self._starting >= TERMINALS:
            raise TooMany(f"{TERMINALS} terminals are open; release one")
        self._starting += 1
        folder = await asyncio.to_thread(self._jail.directory, directory)
        try:
            process = await Process.start(
                argv(command, args),
                directory=f"/proc/self/fd/{folder}" if LINUX else directory,
                environ={**self._environ, **variables},
                stdin=False,
                merged=True,
            )
        finally:
            self._starting -= 1
            os.close(folder)
        terminal_id = f"term_{uuid4().hex}"
        self._open[terminal_id] = Terminal(process, min(OUTPUT_BYTES if most is None else most, OUTPUT_BYTES))
        return terminal_id

    def get(self, terminal_id: str) -> Terminal:
        """A terminal that was not released.

        Raises:
            Unknown: there is none.
        """
        try:
            return self._open[terminal_id]
        except KeyError:
            raise Unknown(terminal_id) from None

    async def wait(self, terminal_id: str) -> dict[str, Any]:
        """The result of `terminal/wait_for_exit`.

        Raises:
            Unknown: there is no such terminal.
        """
        terminal = self.get(terminal_id)
        await asyncio.shield(terminal.reading)
        assert terminal.status is not None, "it has been read to its end"
        return exit_status(terminal.status)

    async def release(self, terminal_id: str) -> None:
        """End the command and forget its terminal.

        Raises:
            Unknown: there is no such terminal.
        """
        terminal = self.get(terminal_id)
        del self._open[terminal_id]
        terminal.kill()
        await asyncio.shield(terminal.reading)

    def kill(self) -> None:
        """End all commands at once."""
        for terminal in self._open.values():
            terminal.kill()

    async def close(self) -> None:
        """End all commands, and return when they have ended."""
        for terminal_id in list(self._open):
            with suppress(Unknown):
                await self.release(terminal_id)


def argv(command: str, args: Sequence[str]) -> list[str]:
    """What to run. Several agents write a whole line for a shell where the protocol means a program."""
    if not args and SHELL_SIGNS & set(command) and shutil.which(command) is None:
        return ["/bin/sh", "-c", command]
    return [command, *args]


def tail(content: bytes, most: int) -> tuple[bytes, bool]:
    """The last bytes, from the beginning of a character on, and whether something is missing."""
    if len(content) <= most:
        return content, False
    start = len(content) - most
    while start < len(content) and content[start] & 0xC0 == 0x80:
        start += 1
    return content[start:], True


def exit_status(status: int) -> dict[str, Any]:
    """How a command ended, in the protocol's words."""
    if status >= 0:
        return {"exitCode": status, "signal": None}
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"SIG{-status}"
    return {"exitCode": None, "signal": name}
