"""Doing tasks: claim, keep the lease, start, report. Everything that an executor calls is here."""

import asyncio
from typing import Any

from core.errors import HubError
from core.tasks import checkpoint, claim, lease, report
from core.tasks.task import Task
from hub.api import rendering
from hub.api.batch import accepted, refused, settled
from hub.api.call import Call, Reply
from hub.api.routing import MIB, route
from schemas.v1 import execution as v1
from schemas.v1 import tasks as v1_tasks
from schemas.v1.envelope import ItemError
from schemas.vocabulary import Scope

_LEASE = "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"
_LATE = (404, 409)
_MINIMAL = {204: "Done, and `Prefer: return=minimal` asked for no more than that (RFC 7240)."}


@route(
    "POST",
    "/tasks/claim",
    scope=Scope.AGENT,
    body=v1.ClaimRequest,
    returns=v1.Claimed | list[v1.Claimed],
    also={204: "Nothing to claim."},
    errors=_LATE,
    summary="Claim work",
    operation_id="tasks_claim",
    example={"agent_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5e", "wait_seconds": 20, "start": True},
)
async def claim_tasks(call: Call, body: v1.ClaimRequest) -> Reply:
    """An agent without a free place gets its own tasks again, with `X-Claim-Replayed: true`."""
    command = claim.ClaimTasks(
        agent_id=body.agent_id,
        worker_id=body.worker_id,
        routing_tags=body.routing_tags,
        workflow_id=body.workflow_id,
        playbook_id=body.playbook_id,
        limit=body.limit,
        start=body.start,
        lease_seconds=body.lease_seconds,
        include_context=body.include_context,
    )
    if body.wait_seconds:
        with call.waiting():
            flow = claim.claim_waiting(call.platform, call.caller, command, body.wait_seconds)
            claims = await call.unless_gone(flow)
    else:
        claims = await call.write(claim.claim, command)
    if not claims.items:
        return Reply(status=204)
    headers = [(b"x-claim-replayed", b"true")] if claims.replayed else []
    if body.limit is None:
        return Reply(rendering.claimed(claims.items[0]), headers=headers)
    return Reply([rendering.claimed(item) for item in claims.items], headers=headers)


@route(
    "POST",
    "/tasks/{id}/complete",
    scope=Scope.AGENT,
    body=v1.CompleteRequest,
    returns=v1_tasks.Task,
    also=_MINIMAL,
    errors=_LATE,
    summary="Complete a task",
    operation_id="tasks_complete",
    example={"lease_id": _LEASE, "output": {"text": "Done."}},
)
async def complete_task(call: Call, body: v1.CompleteRequest) -> Reply:
    """The output may be any JSON value. An equal one under the same lease again changes nothing."""
    task = await call.write(
        report.complete,
        report.CompleteTask(
            call.id,
            output=body.output,
            lease_id=body.lease_id,
            agent_id=body.agent_id,
            worker_id=body.worker_id,
            metrics=body.metrics,
            git_info=body.git_info,
            verification=body.verification,
        ),
    )
    return _told(call, task)


@route(
    "POST",
    "/tasks/{id}/start",
    scope=Scope.AGENT,
    body=v1.StartRequest,
    returns=v1_tasks.Task,
    also=_MINIMAL,
    errors=_LATE,
    summary="Start a claimed task",
    operation_id="tasks_start",
    example={"lease_id": _LEASE},
)
async def start_task(call: Call, body: v1.StartRequest) -> Reply:
    """Starting one's own started task again changes nothing."""
    command = report.StartTask(call.id, body.lease_id, body.agent_id, body.worker_id)
    return _told(call, await call.write(report.start, command))


@route(
    "POST",
    "/tasks/{id}/lease",
    scope=Scope.AGENT,
    body=v1.LeaseRequest,
    returns=v1.LeaseState,
    errors=_LATE,
    summary="Renew a lease",
    operation_id="tasks_lease",
    example={"lease_id": _LEASE, "wait_seconds": 20},
)
async def renew_lease(call: Call, body: v1.LeaseRequest) -> Reply:
    """With `wait_seconds` it answers early when the task is cancelled, answered or lost."""
    command = lease.RenewLease(call.id, body.lease_id, body.extend_seconds, body.known_state)
    # Renewing is repeatable by nature: a remembered answer would tell an end that has passed.
    caller = call.without_key()
    if body.wait_seconds:
        flow = lease.renew_waiting(call.platform, caller, command, body.wait_seconds)
        state = await call.unless_gone(flow)
    else:
        state = await call.platform.write(caller, lease.renew, command)
    return Reply(rendering.lease(state))


@route(
    "POST",
    "/tasks/{id}/checkpoint",
    scope=Scope.AGENT,
    body=v1.CheckpointRequest,
    returns=v1.CheckpointKept,
    errors=_LATE,
    max_bytes=MIB // 4,
    summary="Keep where an attempt stands",
    operation_id="tasks_checkpoint",
    example={"lease_id": _LEASE, "state": {"pages_read": 12}},
)
async def keep_checkpoint(call: Call, body: v1.CheckpointRequest) -> Reply:
    """Replaces what was kept before. The next claim brings it, so that a retry does not pay twice."""
    command = checkpoint.KeepCheckpoint(call.id, body.lease_id, body.state)
    kept = await call.write(checkpoint.keep_checkpoint, command)
    data: v1.CheckpointKept = {"attempt": kept.attempt, "version": kept.version}
    return Reply(data)


@route(
    "POST",
    "/tasks/{id}/fail",
    scope=Scope.AGENT,
    body=v1.FailRequest,
    returns=v1_tasks.Task,
    also=_MINIMAL,
    errors=_LATE,
    summary="Report a failure",
    operation_id="tasks_fail",
    example={
        "lease_id": _LEASE,
        "error": {"category": "network_error", "message": "The site did not answer.", "recoverable": True},
    },
)
async def fail_task(call: Call, body: v1.FailRequest) -> Reply:
    """Tried again when the task's retry policy says so, else final."""
    error = report.ReportedError(body.error.category, body.error.message, body.error.recoverable)
    task = await call.write(
        report.fail,
        report.FailTask(
            call.id,
            error,
            lease_id=body.lease_id,
            agent_id=body.agent_id,
            worker_id=body.worker_id,
            metrics=body.metrics,
            git_info=body.git_info,
        ),
    )
    return _told(call, task)


@route(
    "POST",
    "/tasks/{id}/refuse",
    scope=Scope.AGENT,
    body=v1.RefuseRequest,
    returns=v1_tasks.Task,
    also=_MINIMAL,
    errors=_LATE,
    summary="Refuse a task",
    operation_id="tasks_refuse",
    example={"lease_id": _LEASE, "reason": "I have no access to that repository.", "requeue": True},
)
async def refuse_task(call: Call, body: v1.RefuseRequest) -> Reply:
    """For good, or with `requeue` so that others may have it."""
    command = report.RefuseTask(call.id, body.lease_id, body.reason, body.requeue)
    return _told(call, await call.write(report.refuse, command))


@route(
    "POST",
    "/tasks/complete-batch",
    scope=Scope.AGENT,
    body=v1.CompletionBatch,
    returns=list[v1.TaskItem | ItemError],
    max_bytes=10 * MIB,
    summary="Complete many tasks",
    operation_id="tasks_complete_batch",
    example={"results": [{"task_id": _LEASE, "lease_id": _LEASE, "output": {"text": "Done."}}]},
)
async def complete_tasks(call: Call, body: v1.CompletionBatch) -> Reply:
    """Each is accepted or refused by itself, and answered in its place."""

    async def one(position: int, item: v1.Completion) -> tuple[Any, bool]:
        command = report.CompleteTask(
            item.task_id, output=item.output, lease_id=item.lease_id, metrics=item.metrics
        )
        try:
            done = await call.platform.write_once(call.keyed(str(position)), report.complete, command)
        except HubError as error:
            return refused(error), False
        return accepted(rendering.task(done.result)), done.replayed

    return settled(call, await asyncio.gather(*(one(n, item) for n, item in enumerate(body.results))))


def _told(call: Call, task: Task) -> Reply:
    """The task; or nothing, for an executor that wants no more: the task is most of the answer's cost."""
    if call.minimal:
        return Reply(status=204, headers=[(b"preference-applied", b"return=minimal")])
    return Reply(rendering.task(task))
