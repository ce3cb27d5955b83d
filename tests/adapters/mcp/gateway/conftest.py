"""The gateway in process, in front of servers of the official SDK on sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from mcp.server import MCPServer
from starlette.applications import Starlette
from starlette.types import ASGIApp

from adapters.mcp import McpConfig, gateway_of, routes
from adapters.mcp.gateway import Gateway
from adapters.mcp.upstream.discovery import ServerReader
from adapters.outbound import Outbound
from core.approvals import DecideApproval, decide
from core.caller import SYSTEM, Caller
from core.egress import Allowed
from core.gateway import grants
from core.gateway.grants import CreateGrant, Subject
from core.gateway.records import CallRecord, ListCalls, list_calls
from core.keyring import Keyring
from core.mcp.records import McpServer
from core.mcp.registration import RegisterServer
from core.mcp.verification import register_server
from core.platform import Platform
from core.principals import OwnerType, ensure_principal
from core.push import Seals
from core.store.tx import Tx
from schemas.vocabulary import GrantEffect, GrantSubject
from tests.adapters.mcp.sdk_server import sdk_server
from tests.adapters.mcp.support import ANN, ROOT, TENANT, Keys, Listening, Modern, Session


@dataclass
class Gate:
    """A gateway, and ways to put servers behind it."""

    platform: Platform
    gateway: Gateway
    app: ASGIApp
    http: httpx.AsyncClient
    outbound: Outbound
    keys: Keys
    stack: AsyncExitStack
    servers: dict[str, McpServer] = field(default_factory=dict)

    async def server(
        self, way: str = "dual", slug: str = "sdk", made: MCPServer | None = None, **wish: Any
    ) -> McpServer:
        """A server of the SDK, registered."""
        return await self.register(await self.stack.enter_async_context(sdk_server(way, made)), slug, **wish)

    async def register(self, url: str, slug: str = "sdk", **wish: Any) -> McpServer:
        """Register what answers at an address."""
        reader = ServerReader(self.outbound, {"name": "crossdock", "version": "9.9"})
        wanted = RegisterServer(name=slug, slug=slug, endpoint_url=url, **wish)
        outcome = await register_server(self.platform, SYSTEM(TENANT), reader, wanted)
        self.servers[slug] = outcome.result
        return outcome.result

    async def grant(
        self,
        caller: Caller = ANN,
        tool: str = "*",
        effect: GrantEffect = GrantEffect.ALLOW,
        *,
        server: str = "sdk",
        **limits: Any,
    ) -> None:
        """Give a principal a grant."""
        await self.principal(caller)
        subject = Subject(GrantSubject.PRINCIPAL, id=caller.principal_id)
        command = CreateGrant(subject, server, tool, effect, **limits)
        await self.platform.write(SYSTEM(TENANT), grants.create_grant, command)

    async def principal(self, caller: Caller) -> None:
        """Give a principal its row."""

        async def ensure(tx: Tx, _: None) -> None:
            owner = str(caller.principal_id)
            await ensure_principal(tx, TENANT, OwnerType.USER, owner, owner, caller.principal_id)

        await self.platform.write(SYSTEM(TENANT), ensure, None)

    def modern(self, name: str = "ann", path: str = "/mcp/sdk", **capabilities: Any) -> Modern:
        """A client of the modern era."""
        return Modern(self.http, name, capabilities, path)

    async def session(
        self, name: str = "ann", path: str = "/mcp/sdk", version: str = "2025-11-25", **capabilities: Any
    ) -> Session:
        """A client that has shaken hands."""
        return await Session.open(self.http, name, version, path, capabilities)

    async def calls(self) -> list[CallRecord]:
        """Every record, oldest first."""
        page = await self.platform.read(SYSTEM(TENANT), list_calls, ListCalls(per_page=100))
        return list(page.items)[::-1]

    async def decide(self, call: CallRecord, action: str = "approve") -> None:
        """Decide about a call."""
        assert call.approval_id is not None
        await self.platform.write(ROOT, decide, DecideApproval(call.approval_id, action=action))


Open = Callable[[], Awaitable[Gate]]


@pytest.fixture
def outbound() -> Outbound:
    """A way out that reaches this machine."""
    return Outbound(Allowed.parse(("127.0.0.1",)))


@pytest.fixture
async def gate(platform: Platform, config: McpConfig, keys: Keys, outbound: Outbound) -> AsyncIterator[Gate]:
    """A running gateway with nothing behind it."""

    async def seal(tx: Tx, _: None) -> None:
        tx.memory(Seals).install(Keyring("a secret of thirty-two bytes, at least"))

    await platform.write(SYSTEM(TENANT), seal, None)
    quick = replace(config, leave_seconds=5.0)
    gateway = gateway_of(platform, quick, outbound)
    app = Starlette(routes=list(routes(platform, quick, keys, gateway)))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(outbound.close)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        transport = httpx.ASGITransport(app)
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://hub.test")
        )
        yield Gate(platform, gateway, app, http, outbound, keys, stack)


async def asked(gate: Gate, session: Session, tool: str, answer: Any, **arguments: Any) -> Any:
    """Call a tool that asks, answer it, and tell the result. `answer` may be an error."""
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
    stream = Listening(
        gate.app,
        "POST",
        session.headers,
        {**body, "params": {"name": tool, "arguments": arguments}},
        session.path,
    )
    while (told := await stream.next()) is not None:
        if told.get("id") == 7:
            await stream.hang_up()
            return told.get("result", told)
        if "method" in told and "id" in told:
            said = {"jsonrpc": "2.0", "id": told["id"], **answer}
            await session.http.post(session.path, json=said, headers=session.headers)
    raise AssertionError("the stream ended")
