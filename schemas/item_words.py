"""The words of work items, and of what is said of their tasks."""

from enum import StrEnum


class WorkItemState(StrEnum):
    """Where a work item stands."""

    OPEN = "open"
    PAUSED = "paused"
    """Its tasks are held until it is resumed."""
    BLOCKED = "blocked"
    """It cannot go on until somebody unblocks it."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Resolution(StrEnum):
    """What an assessment, or a handoff, says of what was done."""

    APPROVED = "approved"
    REQUEST_CHANGES = "request_changes"
    REJECTED = "rejected"
    BLOCKED = "blocked"


class OutcomeAction(StrEnum):
    """What else an assessment wants to happen."""

    REOPEN_SUBJECT = "reopen_subject"
    ROUTE_TO_ROLE = "route_to_role"
    BLOCK_SUBJECT = "block_subject"
    ESCALATE = "escalate"
    TERMINATE_BRANCH = "terminate_branch"
