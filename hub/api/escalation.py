"""Tasks that are put before people, and what they decide."""

from core.tasks.escalate import (
    EscalateTask,
    ResolveEscalation,
    RespondToEscalation,
    escalate,
    resolve,
    respond,
)
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import escalation as v1
from schemas.v1 import tasks as v1_tasks
from schemas.vocabulary import Scope

_LATE = (404, 409)


@route(
    "POST",
    "/tasks/{id}/escalate",
    scope=Scope.ADMIN,
    body=v1.EscalateRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Put a task before people",
    operation_id="tasks_escalate",
    example={"reason": "It has been at it for too long."},
)
async def escalate_task(call: Call, body: v1.EscalateRequest) -> Reply:
    """Its attempt ends, its executor is told, and the task waits until the escalation is resolved."""
    command = EscalateTask(call.id, body.reason, target=body.escalation_target)
    return Reply(rendering.task(await call.write(escalate, command)))


@route(
    "POST",
    "/tasks/{id}/agent-escalate",
    scope=Scope.AGENT,
    body=v1.AgentEscalateRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Give a task to people, as its executor",
    operation_id="tasks_agent_escalate",
    example={"reason": "The disk is full, and deleting is not mine to decide."},
)
async def agent_escalate(call: Call, body: v1.AgentEscalateRequest) -> Reply:
    """The attempt ends; the task comes back to the queue with what they decide. When its role escalates to
    another role, a task for that one is made, whose output is the decision."""
    said = {"context_summary": body.context_summary, "work_so_far": body.work_so_far}
    command = EscalateTask(
        call.id,
        body.reason,
        body.lease_id,
        by_executor=True,
        said={name: value for name, value in said.items() if value is not None},
    )
    return Reply(rendering.task(await call.write(escalate, command)))


@route(
    "POST",
    "/tasks/{id}/resolve-escalation",
    scope=Scope.WORKER,
    body=v1.ResolveEscalationRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Decide what was put before people",
    operation_id="tasks_resolve_escalation",
    example={"instructions": "Delete the old logs."},
)
async def resolve_escalation(call: Call, body: v1.ResolveEscalationRequest) -> Reply:
    """The task is ready again, with the decision in its input as `escalation_resolution`."""
    command = ResolveEscalation(call.id, body.instructions, body.context)
    return Reply(rendering.task(await call.write(resolve, command)))


@route(
    "POST",
    "/tasks/{id}/escalation-response",
    scope=Scope.ADMIN,
    body=v1.EscalationResponse,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Respond to an escalation",
    operation_id="tasks_escalation_response",
    example={"instructions": "Ask the customer first."},
)
async def respond_to_escalation(call: Call, body: v1.EscalationResponse) -> Reply:
    """Kept in the task's input as `escalation_response`. It stays escalated until that is resolved."""
    command = RespondToEscalation(call.id, body.instructions, body.context)
    return Reply(rendering.task(await call.write(respond, command)))
