"""Approvals: asked by executors, decided by others."""

from core import approval_queue, approvals
from core.tasks import read
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from hub.api.workflow_rendering import gate
from schemas.v1 import review as v1
from schemas.v1.envelope import PageMeta
from schemas.vocabulary import ApprovalKind, ApprovalStatus, Scope, TaskState

_JUDGED = (TaskState.AWAITING_APPROVAL, TaskState.OUTPUT_PENDING_ASSESSMENT)


@route(
    "POST",
    "/tasks/{id}/approvals",
    scope=Scope.AGENT,
    body=v1.ApprovalAsk,
    returns=v1.Approval,
    status=201,
    errors=(404, 409),
    summary="Ask for approval",
    operation_id="approvals_create",
    example={
        "lease_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f",
        "title": "Delete the old branch?",
        "kind": "permission",
        "subject": {"branch": "old"},
    },
)
async def ask(call: Call, body: v1.ApprovalAsk) -> Reply:
    """The task goes on meanwhile. Poll the answer with `GET /approvals/{id}?wait_seconds=…`."""
    command = approvals.AskApproval(
        call.id,
        body.lease_id,
        body.title,
        ApprovalKind(body.kind),
        subject=body.subject,
        options=[option.model_dump() for option in body.options],
        expires_at=body.expires_at,
        form=body.form,
    )
    return Reply(rendering.approval(await call.write(approvals.ask, command)))


@route(
    "GET",
    "/tasks/{id}/approvals",
    scope=Scope.AGENT,
    query=v1.PageQuery,
    returns=list[v1.Approval],
    meta=PageMeta,
    errors=(404,),
    summary="List a task's approvals",
    operation_id="approvals_of_task",
)
async def list_of_task(call: Call, query: v1.PageQuery) -> Reply:
    """All of them, newest first."""
    await call.read(read.get_task, read.GetTask(call.id))
    found = await call.read(
        approval_queue.list_approvals,
        approval_queue.ListApprovals(task_id=call.id, page=query.page, per_page=query.per_page),
    )
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([rendering.approval(item) for item in found.items], meta)


@route(
    "GET",
    "/approvals",
    scope=Scope.AGENT,
    query=v1.ApprovalQuery,
    returns=v1.ApprovalLists,
    meta=PageMeta,
    summary="List approvals",
    operation_id="approvals_list",
)
async def list_approvals(call: Call, query: v1.ApprovalQuery) -> Reply:
    """`approvals` are the rows, paged; the other two show what is pending by task, and by stage."""
    found = await call.read(
        approval_queue.list_approvals,
        approval_queue.ListApprovals(
            status=query.status,
            kind=query.kind,
            task_id=query.task_id,
            workflow_id=query.workflow_id,
            page=query.page,
            per_page=query.per_page,
        ),
    )
    waiting = await call.read(
        read.list_tasks, read.ListTasks(states=_JUDGED, workflow_id=query.workflow_id, per_page=100)
    )
    wanted = approval_queue.ListApprovals(
        status=ApprovalStatus.PENDING, kind=ApprovalKind.GATE, workflow_id=query.workflow_id, per_page=100
    )
    waiting_gates = await call.read(approval_queue.list_approvals, wanted)
    data: v1.ApprovalLists = {
        "approvals": [_approval(item) for item in found.items],
        "task_approvals": [rendering.task(task) for task in waiting.items],
        "stage_gates": [gate(item) for item in waiting_gates.items],
    }
    return Reply(data, rendering.page(found.total, query.page, query.per_page))


def _approval(value: approvals.Approval) -> v1.Approval:
    row = rendering.approval(value)
    if value.kind is ApprovalKind.GATE:
        row["gate"] = gate(value)
    return row


@route(
    "GET",
    "/approvals/{id}",
    scope=Scope.AGENT,
    query=v1.WaitQuery,
    returns=v1.Approval,
    errors=(404,),
    summary="Read an approval, or wait for its decision",
    operation_id="approvals_get",
)
async def get_approval(call: Call, query: v1.WaitQuery) -> Reply:
    """With `wait_seconds` it answers as soon as it is decided, at the latest after that time as it stands."""
    if not query.wait_seconds:
        found = await call.read(approval_queue.get_approval, approval_queue.GetApproval(call.id))
        return Reply(_approval(found))
    with call.waiting():
        flow = approval_queue.await_decision(call.platform, call.caller, call.id, query.wait_seconds)
        return Reply(_approval(await call.unless_gone(flow)))


@route(
    "POST",
    "/approvals/{id}",
    scope=Scope.AGENT,
    body=v1.ApprovalDecision,
    returns=v1.Approval,
    errors=(404, 409),
    summary="Decide an approval",
    operation_id="approvals_decide",
    example={"action": "approve"},
)
async def decide(call: Call, body: v1.ApprovalDecision) -> Reply:
    """By whoever the approval's policy names; where it names nobody, by an operator, or the submitter where
    the task's policy says so. Never by whoever holds the lease."""
    command = approvals.DecideApproval(
        call.id, body.option_id, body.action, body.feedback, remember=body.remember, data=body.data
    )
    return Reply(_approval(await call.write(approvals.decide, command)))
