"""An artifact that is told while it is made: pieces go out as they come, together when they come together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

MOST_ITEMS: Final = 500
MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""Of one request, and of what may wait for the next; `write` waits for room."""

Report = Callable[[Sequence[Mapping[str, Any]], str], Awaitable[object]]
"""Tells the hub some items, under a replay key."""


class Chunks:
    """Writes one artifact. The first piece leaves at once; while a request is under way, the next gather.

    Readers see each piece as an event of its own, in order. Leaving the block without an error ends the
    artifact; leaving it with one leaves it as it is.
    """

    def __init__(self, report: Report, artifact_id: str | None = None, name: str | None = None) -> None:
        self.artifact_id = artifact_id or uuid4().hex
        self._report = report
        self._name = name
        self._waiting: list[dict[str, Any]] = []
        self._size = 0
        self._begun = False
        self._closed = False
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None

    async def write(
        self, text: str | None = None, *, parts: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """One more piece. Waits only while much has gathered.

        Raises:
            ApiError: the hub refused an earlier piece; `Conflict` when the lease is lost.
        """
        while self._full() and self._running():
            self._room.clear()
            await self._room.wait()
        if self._sender is not None and self._sender.done():
            self._sender.result()
        said = [*([] if text is None else [{"text": text}]), *(parts or ())]
        self._add(said, last=False)

    async def __aenter__(self) -> Self:
        self._sender = asyncio.create_task(self._send(), name=f"chunks of {self.artifact_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sender is not None, "a block was entered before it is left"
        if kind is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
            return
        if self._waiting:
            self._waiting[-1]["last_chunk"] = True
        else:
            self._add([{"text": ""}], last=True)
        self._closed = True
        self._some.set()
        await self._sender

    def _add(self, parts: Sequence[Mapping[str, Any]], *, last: bool) -> None:
        item: dict[str, Any] = {
            "kind": "artifact",
            "artifact_id": self.artifact_id,
            "parts": parts,
            "append": self._begun,
            "last_chunk": last,
        }
        if not self._begun and self._name is not None:
            item["name"] = self._name
        self._begun = True
        self._waiting.append(item)
        self._size += _size(item)
        self._some.set()

    def _full(self) -> bool:
        return len(self._waiting) >= MOST_ITEMS or self._size >= MOST_CHARACTERS

    def _running(self) -> bool:
        return self._sender is not None and not self._sender.done()

    async def _send(self) -> None:
        try:
            while self._waiting or not self._closed:
                await self._some.wait()
                self._some.clear()
                while self._waiting:
                    taken = self._taken()
                    self._room.set()
                    await self._report(taken, uuid4().hex)
        finally:
            self._room.set()

    def _taken(self) -> list[dict[str, Any]]:
        size = count = 0
        for item in self._waiting[:MOST_ITEMS]:
            size += _size(item)
            if count and size > MOST_CHARACTERS:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._size -= sum(_size(item) for item in taken)
        return taken


def _size(item: Mapping[str, Any]) -> int:
    return sum(
        len(value) if isinstance(value, str) else len(repr(value))
        for part in item["parts"]
        for value in part.values()
    )
