"""How a task moves, as data. Pure: it knows no database, no clock and no caller.

From `TRANSITIONS` come the compare-and-set statements of `core/lifecycle.py`, the CHECK constraints of
`core/store/tables/`, the diagram in `core/README.md` and the model of the property tests. A move that is
not in the table does not exist. Every move has exactly one target; where the outcome decides (a reported
failure is final, or it is retried), the command chooses the move first.

One way leads into the queue: a move that puts a task back targets PENDING, and `RELEASE` follows in the same
transaction when nothing holds the task back. So only birth and `RELEASE` make a task READY.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from schemas.vocabulary import AttemptOutcome as Outcome
from schemas.vocabulary import TaskState as S


class Move(StrEnum):
    """The name of a change of state. It is written into the event that records it."""

    RELEASE = "release"
    HOLD = "hold"
    ASK_APPROVAL = "ask_approval"
    CLAIM = "claim"
    START = "start"
    COMPLETE = "complete"
    SUBMIT_OUTPUT = "submit_output"
    FAIL = "fail"
    GIVE_UP = "give_up"
    RETRY_LATER = "retry_later"
    EXPIRE = "expire"
    REQUEUE = "requeue"
    REFUSE = "refuse"
    ASK_INPUT = "ask_input"
    ASK_AUTH = "ask_auth"
    ANSWER_HELD = "answer_held"
    ANSWER_PARKED = "answer_parked"
    APPROVE = "approve"
    APPROVE_OUTPUT = "approve_output"
    REJECT = "reject"
    REWORK = "rework"
    FORCE_RETRY = "force_retry"
    REASSIGN = "reassign"
    ESCALATE = "escalate"
    AGENT_ESCALATE = "agent_escalate"
    RESOLVE_ESCALATION = "resolve_escalation"
    SETTLE_ESCALATION = "settle_escalation"
    SKIP = "skip"
    OVERRIDE_OUTPUT = "override_output"
    CANCEL = "cancel"
    REOPEN_RETRY = "reopen_retry"
    REOPEN_REWORK = "reopen_rework"
    REOPEN_REASSIGN = "reopen_reassign"
    REOPEN_SKIP = "reopen_skip"
    REOPEN_OVERRIDE = "reopen_override"
    REJECT_COMPLETED = "reject_completed"
    CLOSE_FAILED = "close_failed"


class Fence(StrEnum):
    """What a move compares before it happens."""

    NONE = "none"
    """No lease is compared."""
    NEW = "new"
    """The move makes the lease (a claim)."""
    OWN = "own"
    """The caller presents the lease; it must be the task's own, unexpired, and the caller its holder."""
    SEEN = "seen"
    """The hub compares the lease that it read earlier, so that it never ends a newer one."""


@dataclass(frozen=True)
class Arc:
    """One move: where it may start, where it ends, what it compares and how it ends an attempt."""

    target: S
    sources: frozenset[S]
    fence: Fence = Fence.NONE
    ends: Outcome | None = None
    repeatable: bool = False
    """Done again by the same holder it changes nothing, writes nothing and answers the same."""
    reopens: bool = False
    """May leave a final state. Refused for tasks born on A2A, ACP or MCP, where final is final."""


def _arc(
    target: S,
    *sources: S,
    fence: Fence = Fence.NONE,
    ends: Outcome | None = None,
    repeatable: bool = False,
    reopens: bool = False,
) -> Arc:
    return Arc(target, frozenset(sources), fence, ends, repeatable, reopens)


FINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.REJECTED})
"""Left only by arcs with `reopens`."""

LEASED = frozenset({S.CLAIMED, S.IN_PROGRESS})
"""A task in one of these has exactly one live lease."""

ASKING = frozenset({S.INPUT_REQUIRED, S.AUTH_REQUIRED})
"""A task in one of these has open input requests, and keeps its lease only while it is `held`."""

QUEUED = frozenset({S.PENDING, S.READY, S.AWAITING_APPROVAL})
"""Before the first claim; A2A calls them SUBMITTED until the task has once left them."""

BIRTH = frozenset({S.REJECTED, S.PENDING, S.AWAITING_APPROVAL, S.READY})
"""The states in which a task may be born."""

_JUDGED = (S.AWAITING_APPROVAL, S.OUTPUT_PENDING_ASSESSMENT)
_ASKING = (S.INPUT_REQUIRED, S.AUTH_REQUIRED)

TRANSITIONS: Mapping[Move, Arc] = MappingProxyType(
    {
        Move.RELEASE: _arc(S.READY, S.PENDING),
        Move.HOLD: _arc(S.PENDING, S.READY),
        Move.ASK_APPROVAL: _arc(S.AWAITING_APPROVAL, S.PENDING),
        Move.CLAIM: _arc(S.CLAIMED, S.READY, fence=Fence.NEW),
        Move.START: _arc(S.IN_PROGRESS, S.CLAIMED, fence=Fence.OWN, repeatable=True),
        Move.COMPLETE: _arc(
            S.COMPLETED, S.IN_PROGRESS, fence=Fence.OWN, ends=Outcome.COMPLETED, repeatable=True
        ),
        Move.SUBMIT_OUTPUT: _arc(
            S.OUTPUT_PENDING_ASSESSMENT,
            S.IN_PROGRESS,
            fence=Fence.OWN,
            ends=Outcome.COMPLETED,
            repeatable=True,
        ),
        Move.FAIL: _arc(
            S.FAILED, S.CLAIMED, S.IN_PROGRESS, fence=Fence.OWN, ends=Outcome.FAILED, repeatable=True
        ),
        Move.GIVE_UP: _arc(S.FAILED, S.CLAIMED, S.IN_PROGRESS, fence=Fence.SEEN, ends=Outcome.EXPIRED),
        Move.RETRY_LATER: _arc(S.PENDING, S.CLAIMED, S.IN_PROGRESS, fence=Fence.SEEN, ends=Outcome.FAILED),
        Move.EXPIRE: _arc(S.PENDING, S.CLAIMED, fence=Fence.SEEN, ends=Outcome.EXPIRED),
        Move.REQUEUE: _arc(S.PENDING, S.CLAIMED, S.IN_PROGRESS, fence=Fence.OWN, ends=Outcome.REFUSED),
        Move.REFUSE: _arc(S.REJECTED, S.CLAIMED, S.IN_PROGRESS, fence=Fence.OWN, ends=Outcome.REFUSED),
        Move.ASK_INPUT: _arc(S.INPUT_REQUIRED, S.IN_PROGRESS, fence=Fence.OWN, ends=Outcome.PARKED),
        Move.ASK_AUTH: _arc(S.AUTH_REQUIRED, S.IN_PROGRESS, fence=Fence.OWN, ends=Outcome.PARKED),
        Move.ANSWER_HELD: _arc(S.IN_PROGRESS, *_ASKING, fence=Fence.SEEN),
        Move.ANSWER_PARKED: _arc(S.PENDING, *_ASKING),
        Move.APPROVE: _arc(S.PENDING, S.AWAITING_APPROVAL),
        Move.APPROVE_OUTPUT: _arc(S.COMPLETED, S.OUTPUT_PENDING_ASSESSMENT),
        Move.REJECT: _arc(S.FAILED, *_JUDGED, S.CLAIMED, S.IN_PROGRESS, *_ASKING, ends=Outcome.SUPERSEDED),
        Move.REWORK: _arc(S.PENDING, *_JUDGED),
        Move.FORCE_RETRY: _arc(S.PENDING, *_JUDGED, S.ESCALATED, *_ASKING, ends=Outcome.SUPERSEDED),
        Move.REASSIGN: _arc(
            S.PENDING, S.READY, S.CLAIMED, S.IN_PROGRESS, *_JUDGED, *_ASKING, ends=Outcome.SUPERSEDED
        ),
        Move.ESCALATE: _arc(S.ESCALATED, S.CLAIMED, S.IN_PROGRESS, ends=Outcome.ESCALATED),
        Move.AGENT_ESCALATE: _arc(S.ESCALATED, S.IN_PROGRESS, fence=Fence.OWN, ends=Outcome.ESCALATED),
        Move.RESOLVE_ESCALATION: _arc(S.PENDING, S.ESCALATED),
        Move.SETTLE_ESCALATION: _arc(S.COMPLETED, S.ESCALATED),
        Move.SKIP: _arc(
            S.COMPLETED, S.PENDING, S.READY, *_JUDGED, *_ASKING, S.ESCALATED, ends=Outcome.SUPERSEDED
        ),
        Move.OVERRIDE_OUTPUT: _arc(S.COMPLETED, S.OUTPUT_PENDING_ASSESSMENT),
        Move.CANCEL: _arc(
            S.CANCELLED,
            *(s for s in S if s not in FINAL),
            ends=Outcome.CANCELLED,
            repeatable=True,
        ),
        Move.REOPEN_RETRY: _arc(S.PENDING, S.FAILED, S.COMPLETED, S.REJECTED, reopens=True),
        Move.REOPEN_REWORK: _arc(S.PENDING, S.COMPLETED, S.FAILED, S.CANCELLED, reopens=True),
        Move.REOPEN_REASSIGN: _arc(S.PENDING, S.FAILED, S.CANCELLED, reopens=True),
        Move.REOPEN_SKIP: _arc(S.COMPLETED, S.FAILED, S.CANCELLED, reopens=True),
        Move.REOPEN_OVERRIDE: _arc(S.COMPLETED, S.FAILED, S.CANCELLED, reopens=True),
        Move.REJECT_COMPLETED: _arc(S.FAILED, S.COMPLETED, reopens=True),
        Move.CLOSE_FAILED: _arc(S.CANCELLED, S.FAILED, reopens=True),
    }
)
"""Every move there is, total over `Move`."""


def mermaid() -> str:
    """The table as a Mermaid state diagram, one line per source and target, moves joined."""
    edges: dict[tuple[S, S], list[str]] = {}
    for move, arc in TRANSITIONS.items():
        for source in sorted(arc.sources):
            edges.setdefault((source, arc.target), []).append(move.value)
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state.wire}" for state in sorted(BIRTH)]
    lines += [f"    {a.wire} --> {b.wire}: {', '.join(moves)}" for (a, b), moves in sorted(edges.items())]
    lines += [f"    {state.wire} --> [*]" for state in sorted(FINAL)]
    return "\n".join(lines)
