"""Stopping, repeating and judging tasks, and the approvals that stand behind it."""

from typing import Annotated, Any, Literal, NotRequired, Self

from pydantic import Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from schemas.v1.fields import (
    Body,
    Id,
    IdText,
    Instant,
    Moment,
    Name,
    Object,
    Query,
    Remark,
    Replayable,
    UserSchema,
    Wait,
    answer,
)
from schemas.v1.tasks import Task
from schemas.v1.workflow_records import Gate
from schemas.vocabulary import ApprovalKind, ApprovalStatus

OptionKind = Literal["allow_once", "allow_always", "reject_once", "reject_always"]
Decision = Literal["approve", "reject", "request_changes", "block"]
DecisionKind = Literal["permission", "tool_call"]


class CancelRequest(Replayable):
    """Cancel a task."""

    reason: Remark | None = None
    grace_seconds: Annotated[int, Field(ge=0, le=60)] = 0
    """Ask the executor first, and cancel after so many seconds."""
    lease_id: Id | None = None
    """The executor confirms a cancellation that was asked for."""


class RetryRequest(Replayable):
    """Do a task again."""

    override_input: Object | None = None
    """Merged over the input."""
    force: bool = False
    """Also when it did not fail."""


class ApproveRequest(Replayable):
    """Allow what the task waits for."""

    feedback: Remark | None = None


class RejectRequest(Replayable):
    """Refuse it: the task fails."""

    feedback: Remark


class ReworkRequest(Replayable):
    """Send it back to be done again."""

    feedback: Remark
    override_input: Object | None = None
    preferred_agent_id: Id | None = None
    preferred_worker_id: Id | None = None
    """One of this worker's agents, if no agent is named."""


@answer
class InputAsked(Task):
    """The task after its executor asked for input."""

    input_id: Id


class ApprovalOption(Body):
    """One answer to choose from."""

    id: Name
    name: Name
    kind: OptionKind


class ApprovalAsk(Replayable):
    """Ask for leave to do something."""

    lease_id: Id
    title: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    kind: DecisionKind
    subject: Any = None
    """What exactly is asked: any JSON value."""
    options: Annotated[list[ApprovalOption], Field(max_length=20)] = []
    """Default: allow once and reject once."""
    expires_at: Moment | None = None
    """Without one it never expires."""
    form: UserSchema | None = None
    """JSON Schema 2020-12 of the answer that is to come with an approval."""

    @model_validator(mode="after")
    def _distinct_options(self) -> Self:
        """Each option has its own id.

        Raises:
            ValueError: two have the same.
        """
        if len({option.id for option in self.options}) != len(self.options):
            raise ValueError("every option needs an id of its own")
        return self


class ApprovalDecision(Replayable):
    """Decide an approval, by one of its options or by an action. The first decision wins.

    Where a quorum was declared it is a vote, and the first decision that so many share wins.
    """

    option_id: Name | None = None
    action: Decision | None = None
    feedback: Remark | None = None
    remember: bool = False
    data: Any = None
    """The answer to the approval's form, which an approval needs."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """An option or an action.

        Raises:
            ValueError: both or neither.
        """
        if (self.option_id is None) == (self.action is None):
            raise ValueError("send either option_id or action")
        return self


class ApprovalQuery(Query):
    """Which approvals to list, newest first."""

    status: ApprovalStatus = ApprovalStatus.PENDING
    kind: ApprovalKind | None = None
    task_id: Id | None = None
    workflow_id: Id | None = None
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


class PageQuery(Query):
    """A page of a list."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


class WaitQuery(Query):
    """Long polling."""

    wait_seconds: Wait = 0
    """Wait so long for the decision."""


@answer
class OptionOut(TypedDict):
    """One answer to choose from."""

    id: str
    name: str
    kind: OptionKind


@answer
class DecidersOut(TypedDict):
    """Who may decide."""

    principals: list[IdText]
    roles: list[str]
    scopes: list[str]


@answer
class PolicyOut(TypedDict):
    """How an approval is decided. What was not declared may be absent."""

    deciders: NotRequired[DecidersOut]
    quorum: NotRequired[int]
    deadline_seconds: NotRequired[int | None]
    default: NotRequired[str | None]
    form: NotRequired[dict[str, Any] | None]
    separation_of_duties: NotRequired[bool]
    barred: list[IdText]
    """Who may not decide, since they asked for it or gave the work."""


@answer
class VoteOut(TypedDict):
    """What one of the deciders said."""

    principal_id: IdText
    status: ApprovalStatus
    option_id: str | None
    feedback: str | None
    data: Any
    via: str
    at: Instant


@answer
class Approval(TypedDict):
    """Something that somebody must allow."""

    id: Id
    task_id: Id | None
    workflow_id: Id | None
    attempt: int | None
    kind: ApprovalKind
    title: str
    status: ApprovalStatus
    subject: Any
    subject_digest: str | None
    """SHA-256 of what exactly is asked (RFC 8785): the decision holds for this and nothing else."""
    options: list[OptionOut]
    option_id: str | None
    """The option that was chosen."""
    feedback: str | None
    remember: bool
    policy: PolicyOut | None
    """Who decides it, how many, and what at the deadline; null where nothing was declared."""
    votes: list[VoteOut]
    """What was said so far, in order, where a policy was declared."""
    data: Any
    """The answer to the form."""
    requested_by: Id
    requested_at: Instant
    decider_id: Id | None
    """Who may decide it beside the operators."""
    expires_at: Instant | None
    decided_by: Id | None
    decided_via: str | None
    """Through which door the decision came."""
    decided_at: Instant | None
    gate: NotRequired[Gate]
    """Of the kind `gate`: the same in a gate's own words."""


@answer
class ApprovalLists(TypedDict):
    """The approvals, and two views of them for those who ask by task or by stage."""

    approvals: list[Approval]
    task_approvals: list[Task]
    """Tasks that wait for leave to start or for a judgement of their output."""
    stage_gates: list[Gate]
