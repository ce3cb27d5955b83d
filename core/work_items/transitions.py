"""How a work item moves, as data. Pure. A move that is not here does not exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from schemas.item_words import WorkItemState as S


class ItemMove(StrEnum):
    """The name of a change of state. It is written into the event that records it."""

    COMPLETE = "complete"
    REOPEN = "reopen"
    PAUSE = "pause"
    RESUME = "resume"
    RESUME_BLOCKED = "resume_blocked"
    """It was blocked before it was paused, and still is."""
    BLOCK = "block"
    UNBLOCK = "unblock"
    CANCEL = "cancel"


@dataclass(frozen=True)
class ItemArc:
    """One move: where it may start, where it ends, and the event that tells of it."""

    target: S
    sources: frozenset[S]
    event: str


ITEM_OVER = frozenset({S.COMPLETED, S.CANCELLED})
"""It has an end time exactly in these."""

ITEM_TRANSITIONS: Mapping[ItemMove, ItemArc] = MappingProxyType(
    {
        ItemMove.COMPLETE: ItemArc(S.COMPLETED, frozenset({S.OPEN}), "work_item.completed"),
        ItemMove.REOPEN: ItemArc(S.OPEN, frozenset({S.COMPLETED}), "work_item.reopened"),
        ItemMove.PAUSE: ItemArc(S.PAUSED, frozenset({S.OPEN, S.BLOCKED}), "work_item.paused"),
        ItemMove.RESUME: ItemArc(S.OPEN, frozenset({S.PAUSED}), "work_item.resumed"),
        ItemMove.RESUME_BLOCKED: ItemArc(S.BLOCKED, frozenset({S.PAUSED}), "work_item.resumed"),
        ItemMove.BLOCK: ItemArc(S.BLOCKED, frozenset({S.OPEN}), "work_item.updated"),
        ItemMove.UNBLOCK: ItemArc(S.OPEN, frozenset({S.BLOCKED}), "work_item.updated"),
        ItemMove.CANCEL: ItemArc(
            S.CANCELLED, frozenset({S.OPEN, S.PAUSED, S.BLOCKED}), "work_item.cancelled"
        ),
    }
)
"""Every move there is, total over `ItemMove`."""
