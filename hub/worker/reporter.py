"""What an executor says while it works, and the ways it can end other than well."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

from hub.client import Approval, Artifact, Brief, Claim, Conflict, Crossdock, Message
from hub.worker.chunks import Chunks

T = TypeVar("T")

WAIT_SECONDS = 25
"""Of one long poll for an answer."""
CHUNK_BYTES = 4 * 1024 * 1024
"""A longer file travels in pieces, each well below what the hub takes in one JSON body."""


class TaskFailed(Exception):
    """The attempt failed in a way that its executor can name."""

    def __init__(self, message: str, *, category: str = "execution_error", recoverable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.category = category
        self.recoverable = recoverable


class Refused(Exception):
    """The executor gives the task back: for good, or with `requeue` for others to do."""

    def __init__(self, reason: str, *, requeue: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.requeue = requeue


class Reporter:
    """The executor's voice for one attempt.

    Each report is repeated until the hub has acknowledged it, across restarts of the hub, and takes effect
    once. When the lease is lost it raises `hub.client.Conflict`: let it pass, the attempt is over.
    """

    def __init__(self, hub: Crossdock, claim: Claim) -> None:
        self.claim = claim
        self.lost = False
        """Whether the hub has taken the task away, so that nothing more can be reported."""
        self._hub = hub

    async def say(
        self,
        text: str | None = None,
        *,
        parts: Sequence[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | None = None,
        final: bool | None = None,
        key: str | None = None,
    ) -> Message:
        """Add a message to the task's conversation. Two calls with one `key` make one message."""
        return await self._heard(
            self._hub.tasks.message(
                self.claim.id,
                text,
                parts=parts,
                lease_id=self.claim.lease_id,
                metadata=metadata,
                final=final,
                idempotency_key=key or uuid4().hex,
            )
        )

    async def artifact(
        self,
        text: str | None = None,
        *,
        parts: Sequence[Mapping[str, Any]] | None = None,
        artifact_id: str | None = None,
        name: str | None = None,
        append: bool | None = None,
        last_chunk: bool | None = None,
    ) -> Artifact:
        """Make an artifact of parts, or with `append` lengthen the one with that `artifact_id`."""
        return await self._heard(
            self._hub.tasks.artifact(
                self.claim.id,
                text,
                parts=parts,
                artifact_id=artifact_id,
                name=name,
                append=append,
                last_chunk=last_chunk,
                lease_id=self.claim.lease_id,
                idempotency_key=uuid4().hex,
            )
        )

    def chunks(self, *, artifact_id: str | None = None, name: str | None = None) -> Chunks:
        """An artifact to write piece by piece: `async with reporter.chunks(name="log") as log: …`.

        Its pieces are told as they come; those that come while the hub is being told travel together.
        """
        return Chunks(self._progress, artifact_id, name)

    async def _progress(self, items: Sequence[Mapping[str, Any]], key: str) -> None:
        await self._heard(
            self._hub.tasks.progress(self.claim.id, items, lease_id=self.claim.lease_id, idempotency_key=key)
        )

    async def file(self, path: str, content: bytes, content_type: str) -> Artifact:
        """Make an artifact of a file. `path` is only its label."""
        pieces = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)] or [b""]
        artifact: Artifact | None = None
        for number, piece in enumerate(pieces, start=1):
            artifact = await self._heard(
                self._hub.tasks.artifact(
                    self.claim.id,
                    path=path,
                    name=None if artifact else PurePosixPath(path).name[:255],
                    content=piece,
                    content_type=content_type,
                    artifact_id=artifact.id if artifact else None,
                    append=True if artifact else None,
                    last_chunk=None if number == len(pieces) else False,
                    lease_id=self.claim.lease_id,
                    idempotency_key=uuid4().hex,
                )
            )
        assert artifact is not None, "there is always a piece"
        return artifact

    async def brief(self) -> Brief:
        """What the task's session is, where it is a turn of one.

        Raises:
            NotFound: it is none.
        """
        return await self._heard(self._hub.turns.brief(self.claim.id, self.claim.lease_id))

    async def session(self, **said: Any) -> None:
        """Report the executor's own session; see `hub.turns.report`."""
        await self._heard(self._hub.turns.report(self.claim.id, lease_id=self.claim.lease_id, **said))

    async def updates(self, updates: Sequence[Mapping[str, Any]], *, key: str) -> None:
        """Pass on what an ACP agent said. Two calls with one `key` say it once."""
        await self._heard(
            self._hub.turns.updates(self.claim.id, updates, lease_id=self.claim.lease_id, idempotency_key=key)
        )

    async def permission(self, title: str, *, subject: Any, options: Sequence[Mapping[str, Any]]) -> Approval:
        """Ask for leave; `decision` waits for what becomes of it. Not while a question is open."""
        return await self._heard(
            self._hub.approvals.ask(
                self.claim.id,
                title,
                lease_id=self.claim.lease_id,
                kind="permission",
                subject=subject,
                options=options,
                idempotency_key=uuid4().hex,
            )
        )

    async def decision(self, asked: Approval) -> Approval:
        """The approval once it is decided, however long it takes."""
        while asked.status == "pending":
            asked = await self._heard(self._hub.approvals.get(asked.id, wait_seconds=WAIT_SECONDS))
        return asked

    async def question(self, parts: Sequence[Mapping[str, Any]], *, kind: str = "input") -> Message:
        """Ask for input, and wait for the answer however long it takes. One question at a time."""
        asked = await self._heard(
            self._hub.tasks.request_input(
                self.claim.id,
                parts=parts,
                lease_id=self.claim.lease_id,
                kind=kind,
                hold=True,
                idempotency_key=uuid4().hex,
            )
        )
        input_id, read = str(asked.raw["input_id"]), 0
        while True:
            lease = await self._heard(
                self._hub.tasks.lease(
                    self.claim.id, self.claim.lease_id, wait_seconds=WAIT_SECONDS, known_state=asked.state
                )
            )
            while page := (await self._heard(self._hub.tasks.messages(self.claim.id, after=read))).items:
                for message in page:
                    read = int(message.raw["n"])
                    if message.role == "user" and message.raw["metadata"].get("input_id") == input_id:
                        return message
            if lease.cancel_requested:
                await asyncio.sleep(WAIT_SECONDS)  # whoever waits for this is about to be cancelled

    async def _heard(self, report: Awaitable[T]) -> T:
        try:
            return await report
        except Conflict:
            self.lost = True
            raise
