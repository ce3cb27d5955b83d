"""What is said, made and asked while a task is done: messages, artifacts, input."""

from uuid import UUID

from core.tasks import artifacts, input, messages, progress
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import MIB, route
from schemas.v1 import content as v1
from schemas.v1 import review as v1_review
from schemas.v1 import tasks as v1_tasks
from schemas.vocabulary import Scope

_LEASE = "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"
_LATE = (404, 409)
_PARTS = [{"text": "Half way through."}]


@route(
    "POST",
    "/tasks/{id}/messages",
    scope=Scope.AGENT,
    body=v1.MessageCreate,
    returns=v1.Message,
    status=201,
    errors=_LATE,
    summary="Say something",
    operation_id="messages_create",
    example={"lease_id": _LEASE, "parts": _PARTS},
)
async def add_message(call: Call, body: v1.MessageCreate) -> Reply:
    """An executor speaks as `agent` under its lease, whoever asked for the task as `user`."""
    role = body.role or ("user" if body.lease_id is None else "agent")
    message = await call.write(
        messages.add_message,
        messages.AddMessage(
            call.id,
            body.parts,
            role=role,
            lease_id=body.lease_id,
            message_id=body.message_id,
            metadata=body.metadata,
            final=body.final,
        ),
    )
    return Reply(rendering.message(message))


@route(
    "GET",
    "/tasks/{id}/messages",
    scope=Scope.AGENT,
    query=v1.MessageQuery,
    returns=list[v1.Message],
    errors=(404,),
    summary="Read the conversation",
    operation_id="messages_list",
)
async def list_messages(call: Call, query: v1.MessageQuery) -> Reply:
    """Oldest first; go on with `after` set to the last `n`."""
    found = await call.read(messages.list_messages, messages.ListMessages(call.id, query.after, query.limit))
    return Reply([rendering.message(message) for message in found])


@route(
    "POST",
    "/tasks/{id}/artifacts",
    scope=Scope.AGENT,
    body=v1.ArtifactCreate,
    returns=v1.Artifact,
    status=201,
    errors=_LATE,
    max_bytes=14 * MIB,
    summary="Leave an artifact",
    operation_id="artifacts_create",
    example={"lease_id": _LEASE, "name": "summary", "parts": [{"text": "All is well."}]},
)
async def put_artifact(call: Call, body: v1.ArtifactCreate) -> Reply:
    """Whole, or in chunks: the first without `append`, the last with `last_chunk`."""
    artifact = await call.write(artifacts.put_artifact, _artifact(call, body, body.lease_id))
    return Reply(rendering.artifact(artifact))


@route(
    "POST",
    "/tasks/{id}/progress",
    scope=Scope.AGENT,
    body=v1.ProgressCreate,
    returns=v1.ProgressReported,
    status=201,
    errors=_LATE,
    max_bytes=16 * MIB,
    summary="Report much at once",
    operation_id="tasks_progress",
    example={
        "lease_id": _LEASE,
        "items": [
            {"kind": "artifact", "artifact_id": "log", "parts": [{"text": "one "}], "last_chunk": False},
            {"kind": "artifact", "artifact_id": "log", "parts": [{"text": "two"}], "append": True},
            {"kind": "message", "parts": _PARTS},
        ],
    },
)
async def report_progress(call: Call, body: v1.ProgressCreate) -> Reply:
    """Artifacts, chunks and messages in one transaction; readers see each as its own event, in order."""
    items: list[progress.Item] = [
        messages.AddMessage(
            call.id, item.parts, message_id=item.message_id, metadata=item.metadata, final=item.final
        )
        if isinstance(item, v1.MessageItem)
        else _artifact(call, item, body.lease_id)
        for item in body.items
    ]
    told = await call.write(progress.report_progress, progress.ReportProgress(call.id, body.lease_id, items))
    return Reply({"version": told.version, "ids": list(told.ids)})


def _artifact(call: Call, fields: v1.ArtifactFields, lease_id: UUID | None) -> artifacts.PutArtifact:
    return artifacts.PutArtifact(
        call.id,
        fields.whole_parts,
        artifact_id=fields.artifact_id,
        name=fields.name,
        description=fields.description,
        path=fields.path,
        content_type=fields.content_type,
        append=fields.append,
        last_chunk=fields.last_chunk,
        metadata=fields.metadata,
        lease_id=lease_id,
    )


@route(
    "GET",
    "/tasks/{id}/artifacts",
    scope=Scope.AGENT,
    returns=list[v1.Artifact],
    errors=(404,),
    summary="List artifacts",
    operation_id="artifacts_list",
)
async def list_artifacts(call: Call) -> Reply:
    """In the order in which they came, with all their parts."""
    found = await call.read(artifacts.list_artifacts, artifacts.ListArtifacts(call.id))
    return Reply([rendering.artifact(artifact) for artifact in found])


@route(
    "GET",
    "/tasks/{id}/artifacts/{artifact_id:text}",
    scope=Scope.AGENT,
    returns=v1.Artifact,
    errors=(404,),
    summary="Read an artifact",
    operation_id="artifacts_get",
)
async def get_artifact(call: Call) -> Reply:
    """With all its parts, as far as it has come."""
    query = artifacts.GetArtifact(call.id, call.texts["artifact_id"])
    return Reply(rendering.artifact(await call.read(artifacts.get_artifact, query)))


@route(
    "DELETE",
    "/tasks/{id}/artifacts/{artifact_id:text}",
    scope=Scope.AGENT,
    query=v1.LeaseQuery,
    also={204: "It is gone."},
    status=204,
    errors=_LATE,
    summary="Delete an artifact",
    operation_id="artifacts_delete",
)
async def delete_artifact(call: Call, query: v1.LeaseQuery) -> Reply:
    """By the executor with its lease, or by an operator."""
    command = artifacts.DeleteArtifact(call.id, call.texts["artifact_id"], query.lease_id)
    await call.write(artifacts.delete_artifact, command)
    return Reply()


@route(
    "POST",
    "/tasks/{id}/request-input",
    scope=Scope.AGENT,
    body=v1.InputAsk,
    returns=v1_review.InputAsked,
    errors=_LATE,
    summary="Ask for input",
    operation_id="tasks_request_input",
    example={"lease_id": _LEASE, "parts": [{"text": "Which of the two reports?"}]},
)
async def request_input(call: Call, body: v1.InputAsk) -> Reply:
    """The task waits. Without `hold` the attempt ends, and the answer puts the task back in the queue."""
    command = input.RequestInput(
        call.id, body.lease_id, body.parts, kind=body.kind, schema=body.answer_schema, hold=body.hold
    )
    return Reply(rendering.asked(await call.write(input.request_input, command)))


@route(
    "POST",
    "/tasks/{id}/input",
    scope=Scope.AGENT,
    body=v1.InputAnswer,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Answer a request for input",
    operation_id="tasks_input",
    example={"parts": [{"text": "The second."}]},
)
async def answer_input(call: Call, body: v1.InputAnswer) -> Reply:
    """By whoever submitted the task, or an operator. The task goes on with the last answer."""
    parts = body.parts
    if parts is None and body.data is None:
        parts = [{"data": None}]  # null is an answer, too
    command = input.AnswerInput(
        call.id,
        parts=parts,
        data=body.data,
        input_id=body.input_id,
        message_id=body.message_id,
        message_metadata=body.metadata,
    )
    return Reply(rendering.task(await call.write(input.answer_input, command)))
