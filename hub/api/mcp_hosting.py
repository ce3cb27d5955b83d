"""Hosting MCP servers: a worker runs a program for each session, and speaks for it by its own connection."""

import asyncio
from typing import Final

from core.mcp.channels import Frame, FrameKind, for_worker
from core.mcp.hosting import Give, Host, Release, Take, Taken, give, host, release, take
from hub.api.call import Call, Reply
from hub.api.routing import MIB, route
from schemas.v1 import mcp_hosting as v1
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope

_LARGEST: Final = 16 * MIB


@route(
    "POST",
    "/mcp-hosting",
    scope=Scope.WORKER,
    body=v1.McpHostingCreate,
    returns=v1.McpHosting,
    status=201,
    errors=(409,),
    rationed=True,
    summary="Host an MCP server",
    operation_id="mcp_hosting_create",
    example={"name": "Files"},
)
async def create_hosting(call: Call, body: v1.McpHostingCreate) -> Reply:
    """Registers the server, unless this principal did so before, and gives a lease. Whoever held one before
    has lost it. Nobody sees what the server offers before it is granted."""
    made = await call.write(
        host, Host(body.name, body.slug, body.description, body.call_timeout_seconds, body.places)
    )
    return Reply(
        {
            "server_id": made.server.id,
            "slug": made.server.slug,
            "name": made.server.name,
            "lease_id": made.lease_id,
            "lease_expires_at": stamp(made.expires_at),
        }
    )


@route(
    "POST",
    "/mcp-hosting/{id}/next",
    scope=Scope.WORKER,
    body=v1.McpHostingNext,
    returns=v1.McpHostingWork,
    errors=(404, 409),
    summary="Get what a hosted MCP server is to do",
    operation_id="mcp_hosting_next",
    example={"lease_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"},
)
async def next_of_hosting(call: Call, body: v1.McpHostingNext) -> Reply:
    """Waits for something to do, and keeps the lease meanwhile. 409 says that the lease is lost."""
    with call.waiting():
        return Reply(_work(await call.unless_gone(_next(call, body))))


@route(
    "POST",
    "/mcp-hosting/{id}/messages",
    scope=Scope.WORKER,
    body=v1.McpHostingGive,
    also={204: "They were taken."},
    status=204,
    errors=(404, 409),
    max_bytes=_LARGEST,
    summary="Say what hosted programs have said",
    operation_id="mcp_hosting_messages",
    example={
        "lease_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f",
        "frames": [
            {
                "id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f",
                "channel_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f",
                "kind": "message",
                "body": '{"jsonrpc":"2.0","id":1,"result":{}}',
            }
        ],
    },
)
async def give_to_hosting(call: Call, body: v1.McpHostingGive) -> Reply:
    """In order; repeating it changes nothing. Frames of channels that have ended are dropped."""
    frames = [Frame(one.id, one.channel_id, FrameKind(one.kind), one.body) for one in body.frames]
    await call.platform.write(call.without_key(), give, Give(call.id, body.lease_id, frames))
    return Reply()


@route(
    "POST",
    "/mcp-hosting/{id}/release",
    scope=Scope.WORKER,
    body=v1.McpHostingRelease,
    also={204: "It is over."},
    status=204,
    summary="Stop hosting an MCP server",
    operation_id="mcp_hosting_release",
    example={"lease_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"},
)
async def release_hosting(call: Call, body: v1.McpHostingRelease) -> Reply:
    """Its sessions end at once. The server stays registered, and is unreachable until it is hosted again."""
    await call.platform.write(call.without_key(), release, Release(call.id, body.lease_id))
    return Reply()


async def _next(call: Call, body: v1.McpHostingNext) -> Taken:
    """What is to be done, once there is something, or when the time is over."""
    clock = asyncio.get_running_loop().time
    until, taken = clock() + body.wait_seconds, body.taken
    while True:
        with call.platform.hints.listen([for_worker(body.lease_id)]) as woken:
            found = await call.platform.write(call.without_key(), take, Take(call.id, body.lease_id, taken))
            left = until - clock()
            if found.frames or left <= 0:
                return found
            await woken.wait(min(left, 5.0))
        taken = []


def _work(value: Taken) -> v1.McpHostingWork:
    return {
        "frames": [
            {"id": one.id, "channel_id": one.channel_id, "kind": one.kind.value, "body": one.body}
            for one in value.frames
        ],
        "lease_expires_at": stamp(value.expires_at),
        "environment": dict(value.environment),
    }
