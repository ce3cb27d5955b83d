"""What an executor says while it works, and the ways it can end other than well."""

from collections.abc import Awaitable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

from hub.client import Artifact, Claim, Conflict, Crossdock, Message

T = TypeVar("T")

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

    async def _heard(self, report: Awaitable[T]) -> T:
        try:
            return await report
        except Conflict:
            self.lost = True
            raise
