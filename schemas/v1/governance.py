"""Governance: how long things are kept, and what is held."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from schemas.v1.fields import Id, Instant, Replayable, answer

Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionPolicyPut(Replayable):
    """What is to be different; what is not sent stays."""

    task_prune_after_days: Days | None = None
    workflow_delete_after_days: Days | None = None
    execution_log_retention_days: Days | None = None
    event_retention_days: Days | None = None
    artifact_retention_days: Days | None = None


class LegalHoldPut(Replayable):
    """Whether it is held."""

    enabled: bool


@answer
class RetentionPolicy(TypedDict):
    """Days after which what is over goes."""

    task_prune_after_days: int
    """Tasks of no workflow, after their end."""
    workflow_delete_after_days: int
    """Workflows with their tasks, after their end."""
    execution_log_retention_days: int
    event_retention_days: int
    """Events whose task and workflow are gone. The others stay as long as those."""
    artifact_retention_days: int
    """Artifacts that are files, after the end of their task."""


@answer
class LegalHold(TypedDict):
    """Whether a thing is held. While it is, retention passes over it and all that belongs to it."""

    entity_type: Literal["task", "workflow", "workspace"]
    entity_id: Id
    legal_hold: bool
    set_at: Instant | None
