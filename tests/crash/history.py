"""What clients of a hub meant and what they were told, written down while the hub is killed under them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(eq=False)
class Write:
    """One write that a client meant. Without an answer nobody knows whether it happened."""

    kind: str
    """`submit`, `claim`, `start`, `say`, `complete`, `refuse` or `cancel`."""
    client: str
    request_id: str
    token: str = ""
    """What it wrote: a task's title, a message's id, an output."""
    task_id: UUID | None = None
    lease_id: UUID | None = None
    late: bool = False
    """Made when its client knew that its lease was over. It may change nothing."""
    status: int | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    answers: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    """Further answers to the same request, sent again though it had been answered."""

    @property
    def acknowledged(self) -> bool:
        """Whether the client was told that it happened."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(eq=False)
class Reading:
    """What one subscriber saw, over all its connections."""

    name: str
    submitter_id: UUID | None = None
    """It sees only the tasks of this submitter; of None, everything."""
    seen: list[tuple[int, str, str | None, int | None]] = field(default_factory=list)
    """Position, kind, task and version of each event, as they came."""
    connections: int = 0

    @property
    def cursor(self) -> int:
        """The last position seen."""
        return self.seen[-1][0] if self.seen else 0


class History:
    """Everything that was meant, in the order in which it was first sent."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.readings: list[Reading] = []
        self._numbers = itertools.count(1)

    def mean(self, kind: str, client: str, **more: Any) -> Write:
        """Write an intent down, with a request id of its own."""
        write = Write(kind, client, f"{client}-{next(self._numbers)}", **more)
        self.writes.append(write)
        return write

    def of(self, kind: str) -> Iterator[Write]:
        """The writes of one kind."""
        return (write for write in self.writes if write.kind == kind)

    def acknowledged(self, kind: str) -> Iterator[Write]:
        """The writes of one kind that their client was told of."""
        return (write for write in self.of(kind) if write.acknowledged)
