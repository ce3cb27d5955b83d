"""What the frames of one remote task are worth to our task. It remembers what was told; no I/O.

A snapshot tells everything again, so what comes from one may be known already; what follows it is new.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.a2a.remote import compose
from adapters.a2a.remote.answers import (
    Frame,
    RemoteArtifact,
    RemoteMessage,
    RemoteStatus,
    RemoteTask,
)
from core.relaying import Brought, Item, Said
from core.tasks.task import Part


@dataclass
class Reading:
    """The remote task as it was told so far. `asked`: the questions that were passed on."""

    asked: Sequence[str] = ()
    _artifacts: dict[str, list[Part]] = field(default_factory=dict)
    _last_words: Sequence[Part] = ()

    def take(self, frame: Frame) -> tuple[list[Item], RemoteStatus | None]:
        """What is to be taken over, and where the remote task stands now, if that was told."""
        match frame:
            case RemoteTask():
                return self._snapshot(frame), frame.status
            case RemoteStatus():
                return self._status(frame), frame
            case RemoteArtifact():
                return [self._chunk(frame)], None
            case RemoteMessage():
                return self._message(frame, known=False), None

    def output(self, status: RemoteStatus) -> Any:
        """The output of the task that ended so."""
        words = self._last_words if status.message is None else status.message.parts
        return compose.output_of([parts for parts in self._artifacts.values() if parts], words)

    def _snapshot(self, task: RemoteTask) -> list[Item]:
        items: list[Item] = []
        for message in task.history:
            items += self._message(message, known=True)
        if task.status.message is not None and not task.status.interrupted:
            items += self._last_word(task.status, known=True)
        self._artifacts = {artifact.id: list(artifact.parts) for artifact in task.artifacts}
        for artifact in task.artifacts:
            if artifact.parts:
                items.append(
                    Brought(
                        artifact.id,
                        artifact.parts,
                        artifact.name,
                        artifact.description,
                        artifact.metadata,
                        whole=True,
                    )
                )
        return items

    def _status(self, status: RemoteStatus) -> list[Item]:
        return [] if status.interrupted else self._last_word(status, known=status.terminal)

    def _last_word(self, status: RemoteStatus, *, known: bool) -> list[Item]:
        """A status message, unless it says how the task failed: then it is our task's status message, too."""
        if status.message is None or (status.terminal and not status.completed):
            return []
        return self._message(status.message, known=known)

    def _message(self, message: RemoteMessage, *, known: bool) -> list[Item]:
        if not message.by_agent or not message.parts:
            return []
        if any(question.startswith(f"{message.id}@") for question in self.asked):
            return []  # our task has asked it in its own name
        self._last_words = message.parts
        return [Said(message.id, message.parts, message.metadata, known=known)]

    def _chunk(self, artifact: RemoteArtifact) -> Brought:
        here = self._artifacts.get(artifact.id)
        append = artifact.append and here is not None
        self._artifacts[artifact.id] = [*(here or ()), *artifact.parts] if append else list(artifact.parts)
        return Brought(
            artifact.id,
            artifact.parts,
            artifact.name,
            artifact.description,
            artifact.metadata,
            append=append,
            last=artifact.last,
        )
