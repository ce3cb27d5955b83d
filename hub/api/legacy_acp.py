"""The older surface for ACP agents at `/api/v1/acp`. Editors speak the protocol itself, at `/acp`."""

from collections.abc import Mapping
from typing import Any

from core.errors import Invalid
from core.sessions import kept
from core.tasks.claim import ClaimTasks
from core.tasks.report import CompleteTask
from core.tasks.task import Task
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import acp as v1
from schemas.v1 import tasks as v1_tasks
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope, SessionStatus

_AGENT = "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"
_SESSION = {"transport": "stdio", "mode": "session", "workspace_path": "/home/ada/project"}


@route(
    "POST",
    "/acp/sessions",
    scope=Scope.AGENT,
    body=v1.SessionCreate,
    returns=v1.KeptSession,
    status=201,
    also={200: "The session that is open."},
    errors=(400, 404, 409),
    summary="Keep a session of an ACP agent",
    operation_id="acp_sessions_create",
    example={"agent_id": _AGENT, **_SESSION},
)
async def create_session(call: Call, body: v1.SessionCreate) -> Reply:
    """In `session` mode the newest open session of the same agent and workflow is used again."""
    session = await call.write(kept.keep_session, _keep(body.agent_id, body))
    told: v1.KeptSession = {**_told(session), "reused": session.reused}
    return Reply(told, status=200 if session.reused else 201)


@route(
    "GET",
    "/acp/sessions/{id}",
    scope=Scope.AGENT,
    returns=v1.KeptSession,
    errors=(404,),
    summary="Read a session of an ACP agent",
    operation_id="acp_sessions_get",
)
async def get_session(call: Call) -> Reply:
    """Its own agent, that agent's worker, and operators see it."""
    return Reply(_told(await call.read(kept.get_kept, kept.KeptId(call.id))))


@route(
    "POST",
    "/acp/sessions/{id}/heartbeat",
    scope=Scope.AGENT,
    body=v1.SessionBeat,
    returns=v1.KeptSession,
    errors=(404,),
    summary="Hear from a session of an ACP agent",
    operation_id="acp_sessions_heartbeat",
    example={"status": "active"},
)
async def beat_session(call: Call, body: v1.SessionBeat) -> Reply:
    """Merges metadata, takes over the status, and renews the leases that the agent holds."""
    status = None if body.status is None else SessionStatus(body.status)
    return Reply(_told(await call.write(kept.beat, kept.BeatSession(call.id, status, body.metadata))))


@route(
    "POST",
    "/acp/claim",
    scope=Scope.AGENT,
    body=v1.ClaimTurn,
    returns=v1.Turn,
    also={204: "Nothing to claim."},
    errors=(400, 404, 409),
    summary="Claim work for an ACP agent",
    operation_id="acp_claim",
    example={"agent_id": _AGENT, "session": _SESSION},
)
async def claim_turn(call: Call, body: v1.ClaimTurn) -> Reply:
    """Claims, starts and keeps a session in one transaction: nothing is left started without its session."""
    claiming = ClaimTasks(
        body.agent_id,
        worker_id=body.worker_id,
        routing_tags=body.routing_tags,
        workflow_id=body.workflow_id,
        start=True,
        lease_seconds=kept.LEASE_SECONDS,
        include_context=body.include_context,
    )
    turn = await call.write(kept.claim_turn, kept.ClaimTurn(claiming, _keep(body.agent_id, body.session)))
    if turn.session is None or turn.claimed is None:
        return Reply(status=204)
    task = _task(turn.claimed.task, turn.session, body.include_context)
    told: v1.Turn = {"session": _told(turn.session), "task": task}
    return Reply(told)


@route(
    "POST",
    "/acp/tasks/{id}/output",
    scope=Scope.AGENT,
    body=v1.TurnOutput,
    returns=v1_tasks.Task,
    errors=(404, 409),
    summary="Complete a task of an ACP agent",
    operation_id="acp_tasks_output",
    example={"content": "Done.", "diff": "--- a\n+++ b\n"},
)
async def give_output(call: Call, body: v1.TurnOutput) -> Reply:
    """The output of the task is what is said here, with `protocol: acp`."""
    output = {
        "result": body.result,
        "content": body.content,
        "terminal_output": body.terminal_output,
        "diff": body.diff,
        "protocol": "acp",
        "metadata": dict(body.metadata),
    }
    completing = CompleteTask(call.id, output=output, agent_id=body.agent_id, worker_id=body.worker_id)
    task = await call.write(kept.give_output, kept.GiveOutput(call.id, completing, body.session_id))
    return Reply(rendering.task(task))


def _keep(agent_id: Any, body: v1.SessionKept) -> kept.KeepSession:
    if body.workspace_path is not None and "\0" in body.workspace_path:
        raise Invalid("workspace_path is no path", details={"field": "workspace_path"})
    return kept.KeepSession(
        agent_id,
        body.transport,
        body.mode,
        body.worker_id,
        body.workflow_id,
        body.workspace_path,
        body.metadata,
    )


def _told(session: kept.KeptSession) -> v1.KeptSession:
    told: v1.KeptSession = {
        "id": session.id,
        "agent_id": session.agent_id,
        "transport": session.transport,
        "mode": session.mode,
        "status": session.status.value,
        "metadata": dict(session.metadata),
        "created_at": stamp(session.created_at),
        "updated_at": stamp(session.updated_at),
    }
    if session.worker_id is not None:
        told["worker_id"] = session.worker_id
    if session.workflow_id is not None:
        told["workflow_id"] = session.workflow_id
    if session.workspace_path is not None:
        told["workspace_path"] = session.workspace_path
    if session.last_heartbeat_at is not None:
        told["last_heartbeat_at"] = stamp(session.last_heartbeat_at)
    return told


def _task(task: Task, session: kept.KeptSession, with_context: bool) -> v1.TurnTask:
    context = task.context
    documents = context.get("documents")
    return {
        "id": task.id,
        "title": task.title,
        "prompt": task.description or task.title,
        "cwd": session.workspace_path or _path_in(context) or _path_in(task.input),
        "input": task.input,
        "context": dict(context) if with_context else None,
        "file_references": list(documents) if isinstance(documents, list) else [],
    }


def _path_in(found: Any) -> str | None:
    for name in ("workspace_path", "cwd"):
        if isinstance(found, Mapping) and isinstance(found.get(name), str):
            return str(found[name])
    return None
