"""Stopping, repeating and judging tasks."""

from core.tasks import amend, cancel, review
from core.tasks.review import JudgeTask
from core.tasks.task import Task
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import review as v1
from schemas.v1 import tasks as v1_tasks
from schemas.vocabulary import ApprovalKind, Scope

_LATE = (404, 409)
_ANEW = {201: "A new task does it again, since the old one is final for good."}
_REASON = {"feedback": "The second section is missing."}


@route(
    "POST",
    "/tasks/{id}/cancel",
    scope=Scope.AGENT,
    body=v1.CancelRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Cancel a task",
    operation_id="tasks_cancel",
    example={"reason": "Not needed any more.", "grace_seconds": 10},
)
async def cancel_task(call: Call, body: v1.CancelRequest) -> Reply:
    """By its submitter, a worker or an operator; its executor hears of it at once. A final task stays."""
    command = cancel.CancelTask(call.id, body.reason, body.grace_seconds, body.lease_id)
    return Reply(rendering.task(await call.write(cancel.cancel, command)))


@route(
    "POST",
    "/tasks/{id}/retry",
    scope=Scope.WORKER,
    body=v1.RetryRequest,
    returns=v1_tasks.Task,
    also=_ANEW,
    errors=_LATE,
    summary="Do a task again",
    operation_id="tasks_retry",
    example={"override_input": {"text": "Try the other address."}},
)
async def retry_task(call: Call, body: v1.RetryRequest) -> Reply:
    """A failed one, with `force` also others. One born on A2A, ACP or MCP stays final: a new one follows."""
    reopened = await call.write(review.retry, review.RetryTask(call.id, body.override_input, body.force))
    return Reply(rendering.task(reopened.task), status=201 if reopened.is_new else 200)


@route(
    "POST",
    "/tasks/{id}/approve",
    scope=Scope.AGENT,
    body=v1.ApproveRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Let a task start",
    operation_id="tasks_approve",
    example={},
)
async def approve_task(call: Call, body: v1.ApproveRequest) -> Reply:
    """Decides its approval of kind `start`. Never by whoever holds the lease."""
    return await _judged(call, JudgeTask(call.id, "approve", (ApprovalKind.START,), body.feedback))


@route(
    "POST",
    "/tasks/{id}/approve-output",
    scope=Scope.AGENT,
    body=v1.ApproveRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Accept an output",
    operation_id="tasks_approve_output",
    example={},
)
async def approve_output(call: Call, body: v1.ApproveRequest) -> Reply:
    """Decides its approval of kind `output`: the task is completed."""
    return await _judged(call, JudgeTask(call.id, "approve", (ApprovalKind.OUTPUT,), body.feedback))


@route(
    "POST",
    "/tasks/{id}/reject",
    scope=Scope.AGENT,
    body=v1.RejectRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Reject a task or its output",
    operation_id="tasks_reject",
    example=_REASON,
)
async def reject_task(call: Call, body: v1.RejectRequest) -> Reply:
    """The task fails with the category `assessment_rejected`. One at work, or completed, by a worker or an
    operator."""
    return Reply(rendering.task(await call.write(amend.reject, amend.RejectTask(call.id, body.feedback))))


@route(
    "POST",
    "/tasks/{id}/rework",
    scope=Scope.AGENT,
    body=v1.ReworkRequest,
    returns=v1_tasks.Task,
    also=_ANEW,
    errors=_LATE,
    summary="Send an output back",
    operation_id="tasks_rework",
    example=_REASON,
)
@route(
    "POST",
    "/tasks/{id}/request-changes",
    scope=Scope.AGENT,
    body=v1.ReworkRequest,
    returns=v1_tasks.Task,
    also=_ANEW,
    errors=_LATE,
    summary="Send an output back (another name of rework)",
    operation_id="tasks_request_changes",
    example=_REASON,
)
async def rework_task(call: Call, body: v1.ReworkRequest) -> Reply:
    """The task is done again, with the feedback in its input as `assessment_feedback`. One that is over, by a
    worker or an operator."""
    command = amend.ReworkTask(
        call.id,
        body.feedback,
        body.override_input,
        body.preferred_agent_id,
        body.preferred_worker_id,
    )
    reopened = await call.write(amend.rework, command)
    return Reply(rendering.task(reopened.task), status=201 if reopened.is_new else 200)


async def _judged(call: Call, command: JudgeTask) -> Reply:
    task: Task = await call.write(review.judge_task, command)
    return Reply(rendering.task(task))
