"""What belongs to a workflow: board, stages, events, gates, documents, activations, deliverables."""

from typing import Any

from core import events
from core.errors import Invalid
from core.workflows import activations, documents, gates, read
from core.workflows.records import WorkflowId
from hub.api import rendering
from hub.api import workflow_rendering as render
from hub.api.call import Call, Reply
from hub.api.events import filter_of
from hub.api.routing import route
from schemas.v1 import events as v1_events
from schemas.v1 import workflow_records as records
from schemas.v1 import workflows as v1
from schemas.v1.envelope import CursorMeta
from schemas.vocabulary import Scope

_PLACES = ("repository", "path", "url", "task_id", "artifact_id", "logical_path")


@route(
    "GET",
    "/workflows/{id}/board",
    scope=Scope.AGENT,
    returns=records.Board,
    errors=(404,),
    summary="Read a workflow's board",
    operation_id="workflows_board",
)
async def get_board(call: Call) -> Reply:
    """Its columns with what stands in them, and its stages."""
    return Reply(render.board(await call.read(read.view_board, WorkflowId(call.id))))


@route(
    "GET",
    "/workflows/{id}/stages",
    scope=Scope.AGENT,
    returns=list[records.Stage],
    errors=(404,),
    summary="List a workflow's stages",
    operation_id="workflows_stages",
)
async def list_stages(call: Call) -> Reply:
    """In order."""
    view = await call.read(read.list_stages, WorkflowId(call.id))
    return Reply([render.stage(found, view.item_summaries) for found in view.stages])


@route(
    "GET",
    "/workflows/{id}/events",
    scope=Scope.AGENT,
    query=v1_events.EventQuery,
    returns=list[v1_events.Event],
    meta=CursorMeta,
    errors=(404, 410),
    summary="Read a workflow's events",
    operation_id="workflows_events",
)
async def list_events(call: Call, query: v1_events.EventQuery) -> Reply:
    """Its own, and those of its tasks and gates. As `GET /events`."""
    if query.after is not None and query.before is not None:
        raise Invalid("send after or before, not both")
    await call.read(read.get_workflow, WorkflowId(call.id))
    wanted = filter_of(query.model_copy(update={"workflow_id": call.id}))
    limit = query.limit or query.per_page or 20
    page = await call.read(events.read_events, events.ReadEvents(wanted, query.after, query.before, limit))
    meta = {"has_more": page.has_more, "next_after": page.next_after, "next_before": page.next_before}
    return Reply([rendering.event(event) for event in page.items], meta)


@route(
    "GET",
    "/workflows/{id}/gates",
    scope=Scope.AGENT,
    returns=list[records.Gate],
    errors=(404,),
    summary="List a workflow's gates",
    operation_id="workflows_gates",
)
async def list_gates(call: Call) -> Reply:
    """All of them, oldest first."""
    return Reply([render.gate(found) for found in await call.read(gates.list_gates, WorkflowId(call.id))])


@route(
    "GET",
    "/workflows/{id}/gates/{gate_id}",
    scope=Scope.AGENT,
    returns=records.Gate,
    errors=(404,),
    summary="Read a gate",
    operation_id="workflows_gate",
)
async def get_gate(call: Call) -> Reply:
    """The same id names it among the approvals."""
    return Reply(render.gate(await call.read(gates.get_gate, gates.GateId(call.id, call.ids["gate_id"]))))


@route(
    "POST",
    "/workflows/{id}/gates/{gate_id}",
    scope=Scope.ADMIN,
    body=v1.GateDecision,
    returns=records.Gate,
    errors=(404, 409),
    summary="Decide a gate",
    operation_id="workflows_decide_gate",
    example={"action": "request_changes", "feedback": "The second case is not tested."},
)
async def decide_gate(call: Call, body: v1.GateDecision) -> Reply:
    """`approve` lets the stage end, `request_changes` has its work done again with the feedback, `block`
    holds it, `reject` ends the workflow when its policy is `fail_workflow`."""
    command = gates.DecideGate(call.id, call.ids["gate_id"], body.action, body.feedback, body.data)
    return Reply(render.gate(await call.write(gates.decide_gate, command)))


@route(
    "GET",
    "/workflows/{id}/documents",
    scope=Scope.AGENT,
    returns=list[records.Document],
    errors=(404,),
    summary="List a workflow's documents",
    operation_id="workflows_documents",
)
async def list_documents(call: Call) -> Reply:
    """By name."""
    found = await call.read(documents.list_documents, WorkflowId(call.id))
    return Reply([render.document(item) for item in found])


@route(
    "POST",
    "/workflows/{id}/documents",
    scope=Scope.ADMIN,
    body=v1.DocumentCreate,
    returns=records.Document,
    status=201,
    errors=(404, 409),
    summary="Name a document",
    operation_id="workflows_create_document",
    example={"logical_name": "design", "source": "external", "url": "https://wiki.example.com/design"},
)
async def create_document(call: Call, body: v1.DocumentCreate) -> Reply:
    """A name for something in a repository, at an address, or among the artifacts of a task."""
    command = documents.CreateDocument(
        call.id,
        body.logical_name,
        body.source,
        _place(body),
        body.scope,
        body.title,
        body.description,
        body.metadata,
    )
    return Reply(render.document(await call.write(documents.create_document, command)))


@route(
    "PATCH",
    "/workflows/{id}/documents/{logical_name:text}",
    scope=Scope.ADMIN,
    body=v1.DocumentPatch,
    returns=records.Document,
    errors=(404, 409),
    summary="Change a document",
    operation_id="workflows_update_document",
    example={"title": "The design"},
)
async def patch_document(call: Call, body: v1.DocumentPatch) -> Reply:
    """A field that is not sent stays."""
    sent = body.model_fields_set
    changes: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("scope", "source", "title", "description")
        if name in sent and (name != "source" or body.source is not None)
    }
    if "metadata" in sent:
        changes["attributes"] = body.metadata
    command = documents.ChangeDocument(call.id, call.texts["logical_name"], changes, _place(body))
    return Reply(render.document(await call.write(documents.change_document, command)))


@route(
    "DELETE",
    "/workflows/{id}/documents/{logical_name:text}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Forget a document",
    operation_id="workflows_delete_document",
)
async def delete_document(call: Call) -> Reply:
    """What it named stays."""
    await call.write(documents.remove_document, documents.DocumentName(call.id, call.texts["logical_name"]))
    return Reply()


@route(
    "GET",
    "/workflows/{id}/activations",
    scope=Scope.AGENT,
    returns=list[records.Activation],
    errors=(404,),
    summary="List a workflow's activations",
    operation_id="workflows_activations",
)
async def list_activations(call: Call) -> Reply:
    """The newest thousand, newest first."""
    found = await call.read(activations.list_activations, WorkflowId(call.id))
    return Reply([render.activation(item) for item in found])


@route(
    "POST",
    "/workflows/{id}/activations",
    scope=Scope.ADMIN,
    body=v1.ActivationCreate,
    returns=records.Activation,
    status=201,
    errors=(404, 409),
    summary="Wake a workflow's orchestrator",
    operation_id="workflows_activate",
    example={"reason": "The customer has answered.", "event_type": "customer.answered"},
)
async def create_activation(call: Call, body: v1.ActivationCreate) -> Reply:
    """It is queued, and stays so while the workflow is paused."""
    command = activations.Enqueue(call.id, body.reason, body.event_type, body.payload, call.caller.replay_key)
    return Reply(render.activation(await call.write(activations.wake, command)))


@route(
    "GET",
    "/workflows/{id}/activations/{activation_id}",
    scope=Scope.AGENT,
    returns=records.Activation,
    errors=(404,),
    summary="Read an activation",
    operation_id="workflows_activation",
)
async def get_activation(call: Call) -> Reply:
    """One of the workflow's."""
    query = activations.ActivationId(call.id, call.ids["activation_id"])
    return Reply(render.activation(await call.read(activations.get_activation, query)))


@route(
    "GET",
    "/workflows/{id}/deliverables",
    scope=Scope.AGENT,
    returns=list[records.Deliverable],
    errors=(404,),
    summary="List what a workflow delivers",
    operation_id="workflows_deliverables",
)
async def list_deliverables(call: Call) -> Reply:
    """The outputs of the tasks that its playbook calls deliverables, those of earlier rounds included."""
    found = await call.read(read.list_deliverables, WorkflowId(call.id))
    return Reply([render.deliverable(item) for item in found])


def _place(body: v1.DocumentFields) -> dict[str, Any]:
    said = {name: getattr(body, name) for name in _PLACES}
    return {name: str(value) for name, value in said.items() if value is not None}
