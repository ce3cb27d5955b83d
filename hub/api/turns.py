"""Doing a turn of an editor's session. All of it is the executor's, under its lease."""

from core.sessions import executor
from hub.api.call import Call, Reply
from hub.api.routing import MIB, route
from schemas.v1 import turns as v1
from schemas.vocabulary import Scope

_LEASE = "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"
_LATE = (404, 409)
_SAID = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Half way through."}}


@route(
    "POST",
    "/tasks/{id}/updates",
    scope=Scope.AGENT,
    body=v1.UpdatesCreate,
    returns=v1.UpdatesPosted,
    status=201,
    errors=_LATE,
    max_bytes=16 * MIB,
    summary="Tell what an ACP agent said",
    operation_id="turns_updates",
    example={"lease_id": _LEASE, "updates": [{"update": _SAID}]},
)
async def post_updates(call: Call, body: v1.UpdatesCreate) -> Reply:
    """Kept word by word as one event, and told to every editor on the session, one update after the other."""
    command = executor.PostUpdates(call.id, body.lease_id, body.updates)
    posted = await call.write(executor.post_updates, command)
    return Reply({"version": posted.version})


@route(
    "POST",
    "/tasks/{id}/session",
    scope=Scope.AGENT,
    body=v1.TurnLease,
    returns=v1.TurnBrief,
    errors=_LATE,
    summary="Read the session of a turn",
    operation_id="turns_session",
    example={"lease_id": _LEASE},
)
async def read_session(call: Call, body: v1.TurnLease) -> Reply:
    """With the credentials of the client's MCP servers: answered while the lease lives, and no longer."""
    brief = await call.read(executor.brief, executor.TurnLease(call.id, body.lease_id))
    told: v1.TurnBrief = {
        "session_id": brief.session_id,
        "cwd": brief.cwd,
        "additional_directories": list(brief.additional_directories),
        "autonomy": brief.autonomy,
        "config": dict(brief.config),
        "mcp_servers": list(brief.mcp_servers or ()),
        "agent_session_id": brief.agent_session_id,
        "forked_from": brief.forked_from,
        "turn": brief.turn,
    }
    return Reply(told)


@route(
    "PUT",
    "/tasks/{id}/session",
    scope=Scope.AGENT,
    body=v1.TurnReport,
    also={204: "Kept."},
    status=204,
    errors=_LATE,
    summary="Report the agent's own session",
    operation_id="turns_report",
    example={"lease_id": _LEASE, "agent_session_id": "s1", "can_resume": True},
)
async def report_session(call: Call, body: v1.TurnReport) -> Reply:
    """What the next turn goes on with, and what the owner may choose from."""
    await call.write(
        executor.report_session,
        executor.ReportSession(
            call.id,
            body.lease_id,
            agent_session_id=body.agent_session_id,
            can_resume=body.can_resume,
            config_options=body.config_options,
            modes=body.modes,
            commands=body.commands,
            agent_info=body.agent_info,
        ),
    )
    return Reply()
