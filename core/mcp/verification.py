"""A server is believed after a look at it: the flows around `registry.py` that have it looked at.

The look happens before the transaction and is no part of what makes two calls equal: a repeat with the same
replay key gets the first result, whatever the server says by then.
"""

from dataclasses import replace
from uuid import UUID

from core.caller import Caller
from core.mcp.parameters import check_parameters, merged
from core.mcp.ports import Looked, ServerRefused, Servers, ServerWanted
from core.mcp.records import McpServer, OpenServer, ServerId, open_server
from core.mcp.registration import ChangeServer, RegisterServer, check_secrets_stay, check_slug, slug_of
from core.mcp.registry import Add, Change, Reverified, add, change, reverified
from core.platform import Platform
from core.store.engine import Outcome
from core.store.replay import Beside

NOBODY = UUID(int=0)


async def look(servers: Servers, wanted: ServerWanted) -> Looked:
    """What a server offers, or why there is nothing, for the command that decides what follows from it."""
    try:
        return await servers.look(wanted)
    except ServerRefused as refused:
        return refused


async def register_server(
    platform: Platform, caller: Caller, servers: Servers, wanted: RegisterServer
) -> Outcome[McpServer]:
    """Verify a server, and register it. Raises as `add`."""
    check_slug(wanted.slug or slug_of(wanted.name))
    check_parameters(wanted.parameters, wanted.endpoint_url)
    asked = ServerWanted(
        server_id=NOBODY,
        tenant_id=caller.tenant_id,
        kind=wanted.kind,
        endpoint_url=wanted.endpoint_url,
        preference=wanted.transport_preference,
        auth_mode=wanted.auth_mode,
        seconds=wanted.call_timeout_seconds,
        values=merged({}, wanted.parameters),
        document_url=wanted.document_url,
        document=wanted.document,
    )
    return await platform.write_once(caller, add, Add(wanted, Beside(await look(servers, asked))))


async def draft_server(platform: Platform, caller: Caller, wanted: RegisterServer) -> Outcome[McpServer]:
    """Register a server that cannot be verified before somebody has authorized the hub. Raises as `add`."""
    return await platform.write_once(caller, add, Add(wanted, Beside(None)))


async def change_server(
    platform: Platform, caller: Caller, servers: Servers, wanted: ChangeServer
) -> Outcome[McpServer]:
    """Change a server; what was verified is verified again first. Raises as `change`."""
    looked: Looked | None = None
    if wanted.verifies:
        known = await platform.read(caller, open_server, ServerId(wanted.server_id))
        check_secrets_stay(known.server, wanted)
        if wanted.parameters is not None:
            check_parameters(wanted.parameters, wanted.endpoint_url or known.server.endpoint_url)
        looked = await look(servers, _merged(known, wanted))
    return await platform.write_once(caller, change, Change(wanted, Beside(looked)))


async def reverify_server(
    platform: Platform, caller: Caller, servers: Servers, wanted: ServerId
) -> Outcome[McpServer]:
    """Look at a server again, and note what comes of it.

    Raises:
        NotFound: no such server.
    """
    known = await platform.read(caller, open_server, wanted)
    looked = await look(servers, wanted_of(known))
    return await platform.write_once(caller, reverified, Reverified(wanted.server_id, Beside(looked)))


def wanted_of(known: OpenServer) -> ServerWanted:
    """A known server, to be looked at."""
    server = known.server
    return ServerWanted(
        server_id=server.id,
        tenant_id=server.tenant_id,
        kind=server.kind,
        endpoint_url=server.endpoint_url,
        preference=server.transport_preference,
        auth_mode=server.auth_mode,
        seconds=server.call_timeout_seconds,
        values=list(known.values.values()),
        document_url=server.document_url,
        document=known.document,
    )


def _merged(known: OpenServer, wanted: ChangeServer) -> ServerWanted:
    asked, server = wanted_of(known), known.server
    return replace(
        asked,
        endpoint_url=wanted.endpoint_url or server.endpoint_url,
        preference=wanted.transport_preference or server.transport_preference,
        auth_mode=wanted.auth_mode or server.auth_mode,
        seconds=wanted.call_timeout_seconds or server.call_timeout_seconds,
        values=asked.values if wanted.parameters is None else merged(known.values, wanted.parameters),
        document_url=wanted.document_url or server.document_url,
        document=asked.document if wanted.document is None else wanted.document,
    )
