"""Escalations: tasks that are put before people."""

from typing import Annotated

from pydantic import StringConstraints

from schemas.v1.fields import Id, Object, Remark, Replayable

Long = Annotated[str, StringConstraints(max_length=8000)]


class EscalateRequest(Replayable):
    """Put a task before people."""

    reason: Remark
    escalation_target: Annotated[str, StringConstraints(min_length=1, max_length=120)] | None = None
    """Who should look at it, for those who read it. Default: `human`."""


class AgentEscalateRequest(Replayable):
    """The executor cannot, or may not, go on by itself."""

    reason: Remark
    lease_id: Id | None = None
    context_summary: Long | None = None
    work_so_far: Long | None = None


class ResolveEscalationRequest(Replayable):
    """What is to be done."""

    instructions: Remark
    context: Object | None = None


class EscalationResponse(Replayable):
    """A word to whoever decides, or to the executor that comes next."""

    instructions: Remark
    context: Object | None = None
