"""What is said to work items: how one is made, changed, held, judged; and handoffs and memory."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.item_words import OutcomeAction, Resolution
from schemas.v1.fields import Id, Name, Object, Query, Remark, Replayable, Short, Title
from schemas.v1.workflows import InputPacket
from schemas.vocabulary import PauseMode, Priority

_Priority = Annotated[Priority, Field(strict=False)]
_Resolution = Annotated[Resolution, Field(strict=False)]
_Text = Annotated[str, StringConstraints(max_length=4000)]
_Actions = Literal["assess", "approve", "rework", "handoff"]
_Limit = Annotated[int, Field(ge=1, le=1000)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class WorkItemCreate(Replayable):
    """A new work item."""

    title: Title
    stage_name: Short | None = None
    """Needed where the playbook has several stages."""
    goal: _Text | None = None
    acceptance_criteria: _Text | None = None
    column_id: Short | None = None
    """Default: the board's entry column."""
    owner_role: Short | None = None
    priority: _Priority = Priority.NORMAL
    notes: _Text | None = None
    metadata: Object = {}
    parent_work_item_id: Id | None = None
    branch_key: Short | None = None
    """Items with the same one are a branch, which an assessment can end as a whole."""
    initial_input_packet: InputPacket = InputPacket()


class WorkItemPatch(Replayable):
    """What is to be different about a work item. A field that is not sent stays as it is."""

    title: Title | None = None
    stage_name: Short | None = None
    goal: _Text | None = None
    acceptance_criteria: _Text | None = None
    column_id: Short | None = None
    """The terminal column completes it, moving out of it opens it again; the blocked column blocks it."""
    owner_role: Short | None = None
    priority: _Priority | None = None
    notes: _Text | None = None
    metadata: Object | None = None
    """Merged key by key."""
    parent_work_item_id: Id | None = None
    branch_key: Short | None = None
    next_expected_actor: Short | None = None
    next_expected_action: _Actions | None = None
    completion_callouts: Any = None


class WorkItemQuery(Query):
    """Which work items to list."""

    parent_work_item_id: Id | None = None
    stage_name: Short | None = None
    column_id: Short | None = None
    grouped: bool = False
    """Only those without a parent, each with its `children`."""


class WorkItemGet(Query):
    """How much of a work item to show."""

    include_children: bool = False


class LimitQuery(Query):
    """How many, the newest first."""

    limit: _Limit = 100


class WorkItemPause(Replayable):
    """Hold a work item."""

    mode: Annotated[PauseMode, Field(strict=False)] = PauseMode.DRAIN
    """`interrupt` takes back what is being done."""


class WorkItemResume(Replayable):
    """Let it go on."""


class WorkItemCancel(Replayable):
    """Stop it for good."""

    reason: Remark | None = None


class WorkItemEscalationResolution(Replayable):
    """What is to become of an open escalation."""

    action: Literal["dismiss", "unblock_subject", "reopen_subject"]
    feedback: Remark | None = None


class SkipRequest(Replayable):
    """Count a task as done without doing it."""

    reason: Remark


class ReassignRequest(Replayable):
    """Give a task to somebody else."""

    reason: Remark
    preferred_agent_id: Id | None = None
    """For a minute after it is ready only this agent may claim it, then everybody."""
    preferred_worker_id: Id | None = None
    """One of this worker's agents, if no agent is named."""


class OutputOverride(Replayable):
    """Put another output in the place of a task's own."""

    output: Any
    reason: Remark


class HandoffCreate(Replayable):
    """What the executor of a task hands on."""

    lease_id: Id | None = None
    summary: Remark
    completion: Literal["full", "blocked"] = "full"
    resolution: _Resolution | None = None
    decision_state: _Resolution | None = None
    """Another name of `resolution`."""
    closure_effect: Literal["blocking", "advisory"] | None = None
    changes: Annotated[list[Any], Field(max_length=200)] = []
    decisions: Annotated[list[Any], Field(max_length=200)] = []
    remaining_items: Annotated[list[Any], Field(max_length=200)] = []
    blockers: Annotated[list[Any], Field(max_length=200)] = []
    focus_areas: Annotated[list[Remark], Field(max_length=200)] = []
    known_risks: Annotated[list[Remark], Field(max_length=200)] = []
    successor_context: Annotated[str, StringConstraints(max_length=8000)] | None = None
    role_data: Object = {}
    subject_ref: Object | None = None
    subject_revision: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    outcome_action_applied: Annotated[OutcomeAction, Field(strict=False)] | None = None
    artifact_ids: Annotated[list[Name], Field(max_length=200)] = []
    documents: Annotated[list[Name], Field(max_length=200)] = []

    @model_validator(mode="after")
    def _one_resolution(self) -> Self:
        """The two names say the same.

        Raises:
            ValueError: they differ.
        """
        if None not in (self.resolution, self.decision_state) and self.resolution != self.decision_state:
            raise ValueError("resolution and decision_state are one, and differ")
        return self


class MemoryPatch(Replayable):
    """What a task wants to be remembered; null forgets."""

    lease_id: Id | None = None
    updates: Annotated[dict[Key, Any], Field(min_length=1, max_length=100)]


class MemoryQuery(Query):
    """Which entry."""

    key: Key | None = None


class MemorySearch(Query):
    """What to look for in keys and values."""

    q: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ContextQuery(Query):
    """For whom."""

    agent_id: Id | None = None
