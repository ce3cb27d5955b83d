"""Lines on their way into the conversation: together when they come together, each exactly once."""

import asyncio
from contextlib import suppress
from uuid import uuid4

from hub.worker.reporter import Reporter

GATHER_SECONDS = 0.02
"""Lines that come within so short a time make one message."""
MESSAGE_CHARACTERS = 128 * 1024
"""A message stays well below the hub's limit for a body, however much of it must be escaped."""


class Relay:
    """Sends the lines it is given as messages of the task, in order.

    While one message is under way, or the hub is away, lines gather for the next. `run` may be cancelled and
    run again: a message whose answer was not seen is sent again under its key, and counts once.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._lines: list[str] = []
        self._some = asyncio.Event()
        self._closed = asyncio.Event()
        self._sending: tuple[str, str] | None = None

    def add(self, lines: list[str]) -> None:
        """More lines."""
        if lines:
            self._lines += lines
            self._some.set()

    def close(self) -> None:
        """Nothing more comes; `run` ends when everything is sent."""
        self._closed.set()
        self._some.set()

    async def run(self) -> None:
        """Send until closed. Once the lease is lost, what remains is dropped.

        Raises:
            ApiError: the hub refuses a message.
        """
        while True:
            await self._some.wait()
            if not self._closed.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), GATHER_SECONDS)
            while self._sending or self._lines:
                await self._send()
            if self._closed.is_set():
                return
            self._some.clear()

    async def _send(self) -> None:
        if self._sending is None:
            text = self._next()
            if not text.strip():
                return
            self._sending = (text, uuid4().hex)
        text, key = self._sending
        if not self._reporter.lost:
            await self._reporter.say(text, key=key)
        self._sending = None

    def _next(self) -> str:
        """The text of the next message: as many of the lines as fit, or a piece of one that does not."""
        size = taken = 0
        for line in self._lines:
            if taken and size + len(line) + 1 > MESSAGE_CHARACTERS:
                break
            size, taken = size + len(line) + 1, taken + 1
        text = "\n".join(self._lines[:taken])
        rest = [text[MESSAGE_CHARACTERS:]] if len(text) > MESSAGE_CHARACTERS else []
        self._lines[:taken] = rest
        return text[:MESSAGE_CHARACTERS]
