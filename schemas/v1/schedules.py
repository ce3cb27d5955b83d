"""Schedules and triggers: what starts tasks and workflows by itself."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from schemas.occasions import HookAuth, MissedRuns, Overlap, RunStatus, TriggerKind
from schemas.starting import TaskStart, WorkflowStart
from schemas.v1.fields import Body, Id, Instant, Moment, Name, Object, Replayable, answer
from schemas.v1.webhooks import EventPattern, Whsec

_Cron = Annotated[str, StringConstraints(min_length=9, max_length=200)]
_Zone = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Description = Annotated[str, StringConstraints(max_length=2000)]
_Missed = Annotated[MissedRuns, Field(strict=False)]
_Overlap = Annotated[Overlap, Field(strict=False)]


class ScheduleCreate(Replayable):
    """A new schedule: by a cron expression, or once. It starts a task or a workflow, whose texts may name
    `schedule.<id, name>` and `run.<id, due_at, date>` in templates."""

    name: Name
    description: _Description | None = None
    cron: _Cron | None = None
    """Five fields, as in `30 6 * * MON-FRI`."""
    start_at: Moment | None = None
    """Once, at this moment."""
    delay_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Once, after so long."""
    timezone: _Zone = "UTC"
    """IANA name of the zone that the expression is meant in. What is due in an hour that the clocks leave out
    runs right after it; in one that they repeat it runs once."""
    task: TaskStart | None = None
    workflow: WorkflowStart | None = None
    missed: _Missed = MissedRuns.LATEST
    """What becomes of times that passed while no hub ran."""
    overlap: _Overlap = Overlap.ALLOW
    """When what it started before still goes on."""
    is_active: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """One way of being due, and one thing to start.

        Raises:
            ValueError: none or several.
        """
        if sum(way is not None for way in (self.cron, self.start_at, self.delay_seconds)) != 1:
            raise ValueError("say one of cron, start_at and delay_seconds")
        if (self.task is None) == (self.workflow is None):
            raise ValueError("say either task or workflow")
        return self


class SchedulePatch(Replayable):
    """What changes."""

    name: Name | None = None
    description: _Description | None = None
    cron: _Cron | None = None
    start_at: Moment | None = None
    timezone: _Zone | None = None
    task: TaskStart | None = None
    workflow: WorkflowStart | None = None
    missed: _Missed | None = None
    overlap: _Overlap | None = None
    is_active: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        """At most one of each pair.

        Raises:
            ValueError: both.
        """
        if self.task is not None and self.workflow is not None:
            raise ValueError("say either task or workflow")
        if self.cron is not None and self.start_at is not None:
            raise ValueError("say either cron or start_at")
        return self


@answer
class Schedule(TypedDict):
    """What is started at times."""

    id: Id
    name: str
    description: str | None
    cron: str | None
    start_at: Instant | None
    timezone: str
    task: dict[str, Any] | None
    workflow: dict[str, Any] | None
    missed: MissedRuns
    overlap: Overlap
    is_active: bool
    """False while it is paused."""
    next_at: Instant | None
    """When it is due next; null for one that was due once."""
    created_by: Id
    """In whose name it starts things."""
    created_at: Instant
    updated_at: Instant


@answer
class ScheduleRun(TypedDict):
    """One time at which it was due, or was told to run."""

    id: Id
    schedule_id: Id
    due_at: Instant | None
    """Null for a run that was asked for."""
    status: RunStatus
    reason: str | None
    """Of a skipped run `missed`, `overlap` or `queue_full`; of a queued one `overlap`."""
    error: dict[str, Any] | None
    task_id: Id | None
    workflow_id: Id | None
    created_at: Instant
    started_at: Instant | None


class TriggerFilters(Body):
    """What the event must be about; all of it."""

    workspace_id: Id | None = None
    workflow_id: Id | None = None
    task_id: Id | None = None
    match: Annotated[Object, Field(max_length=16)] = {}
    """Values that must be equal, by their path in the event, as in `{"data.to_state": "failed"}`."""


class TriggerCreate(Replayable):
    """A new trigger: of events, or a webhook that somebody outside calls. It starts a task or a workflow,
    whose texts may name `trigger.<id, name>` and `event…` or, of a webhook, `payload…` in templates."""

    name: Name
    description: _Description | None = None
    kind: Annotated[TriggerKind, Field(strict=False)] = TriggerKind.EVENT
    event_types: Annotated[list[EventPattern], Field(min_length=1, max_length=50)] | None = None
    """Of an event trigger: which types, as patterns."""
    filters: TriggerFilters | None = None
    auth: Annotated[HookAuth, Field(strict=False)] | None = None
    """Of a webhook: how its callers prove themselves. Default `standard_webhooks`."""
    secret: Whsec | None = None
    """Of `standard_webhooks`, when the sender has one. Made by the hub when absent; shown this once."""
    task: TaskStart | None = None
    workflow: WorkflowStart | None = None
    is_active: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """What belongs to its kind, and one thing to start.

        Raises:
            ValueError: something is missing or too much.
        """
        if (self.task is None) == (self.workflow is None):
            raise ValueError("say either task or workflow")
        if self.kind is TriggerKind.EVENT:
            if self.event_types is None or self.auth is not None or self.secret is not None:
                raise ValueError("an event trigger has event_types, and neither auth nor secret")
        elif self.event_types is not None or self.filters is not None:
            raise ValueError("a webhook has neither event_types nor filters")
        elif self.secret is not None and self.auth not in (None, HookAuth.STANDARD_WEBHOOKS):
            raise ValueError("the hub makes this kind of secret itself")
        return self


class TriggerPatch(Replayable):
    """What changes."""

    name: Name | None = None
    description: _Description | None = None
    event_types: Annotated[list[EventPattern], Field(min_length=1, max_length=50)] | None = None
    filters: TriggerFilters | None = None
    rotate_secret: bool = False
    """A new secret, shown this once. The old one holds no more."""
    task: TaskStart | None = None
    workflow: WorkflowStart | None = None
    is_active: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        """At most one thing to start.

        Raises:
            ValueError: both.
        """
        if self.task is not None and self.workflow is not None:
            raise ValueError("say either task or workflow")
        return self


@answer
class Trigger(TypedDict):
    """What is started when something happens."""

    id: Id
    name: str
    description: str | None
    kind: TriggerKind
    event_types: list[str]
    filters: dict[str, Any]
    auth: HookAuth | None
    url: str | None
    """Where a webhook is called."""
    secret: str | None
    """Only in the answer to the call that made it."""
    task: dict[str, Any] | None
    workflow: dict[str, Any] | None
    is_active: bool
    created_by: Id
    created_at: Instant
    updated_at: Instant


@answer
class TriggerStart(TypedDict):
    """One event or call, and what was started for it."""

    id: Id
    trigger_id: Id
    key: str
    """The event's id, or what makes the call one call."""
    depth: int
    """How many triggers led here."""
    status: RunStatus
    reason: str | None
    """Of a skipped one `depth`."""
    error: dict[str, Any] | None
    task_id: Id | None
    workflow_id: Id | None
    created_at: Instant
    started_at: Instant | None


@answer
class HookTaken(TypedDict):
    """A call that was taken: what it starts is started soon, and once."""

    id: Id
    status: Literal["queued", "started", "skipped", "failed"]
