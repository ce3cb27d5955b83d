"""A stage with a server on it, whose tools can be granted and called."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from core import approval_queue, approvals, bootstrap
from core.approvals import Approval
from core.caller import Caller
from core.gateway import calls, grants, leave, policy
from core.gateway.calls import Ended, Wanted
from core.gateway.grants import CreateGrant, Grant, Subject
from core.gateway.leave import Taken
from core.gateway.records import CallId, CallRecord, get_call
from core.keyring import Keyring
from core.platform import Platform
from core.principals import OwnerType, ensure_principal
from core.push import Seals
from core.store import tables as t
from core.store.tx import Tx
from schemas.vocabulary import CallState, GrantEffect, GrantSubject
from tests.core.gateway.servers import add_server
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock
from tests.properties import law

HASH = "a" * 64


@dataclass
class Gateway:
    """The gateway's side of core, without a network."""

    stage: Stage
    servers: dict[str, UUID] = field(default_factory=dict)

    async def server(self, slug: str = "files") -> UUID:
        """A registered server."""
        id = self.servers[slug] = uuid4()

        async def add(tx: Tx, _: None) -> None:
            tx.memory(Seals).install(Keyring("a secret of thirty-two bytes, at least"))
            tenant = tx.caller.tenant_id
            await tx.run(
                bootstrap.TENANT, id=tenant, slug=str(tenant), name="t", is_active=True, created_at=tx.now
            )
            await add_server(tx, id, slug)

        await self.stage.platform.write(self.stage.admin, add, None)
        return id

    async def grant(
        self,
        kind: GrantSubject,
        who: UUID | str,
        tool: str = "*",
        effect: GrantEffect = GrantEffect.ALLOW,
        *,
        server: str = "files",
        **limits: Any,
    ) -> Grant:
        """Give a grant."""
        subject = Subject(kind, name=who) if isinstance(who, str) else Subject(kind, id=who)
        command = CreateGrant(subject, server, tool, effect, **limits)
        return await self.stage.platform.write(self.stage.admin, grants.create_grant, command)

    def wanted(self, tool: str = "read", *, server: str = "files", **arguments: Any) -> Wanted:
        """A call of a tool."""
        return Wanted(
            id=self.stage.platform.new_id(),
            server_id=self.servers[server],
            server=server,
            tool=tool,
            definition_hash=HASH,
            arguments=policy.redacted(arguments),
            arguments_digest=policy.digest(arguments),
            whole="{}",
        )

    async def begin(self, caller: Caller, tool: str = "read", **arguments: Any) -> CallRecord | None:
        """Ask for a call."""
        return await self.stage.platform.write(caller, calls.begin, self.wanted(tool, **arguments))

    async def waiting(self, caller: Caller, tool: str = "write", **arguments: Any) -> CallRecord:
        """A call that waits for leave."""
        call = await self.begin(caller, tool, **arguments)
        assert call is not None
        assert call.state is CallState.AWAITING_APPROVAL
        return call

    async def approve(
        self, call: CallRecord, *, by: Caller | None = None, action: str = "approve"
    ) -> Approval:
        """Decide about a call."""
        assert call.approval_id is not None
        command = approvals.DecideApproval(call.approval_id, action=action)
        return await self.stage.platform.write(by or self.stage.admin, approvals.decide, command)

    async def take(self, call: CallRecord, current: str | None = HASH) -> Taken | None:
        """Start a call that has its leave, as the hub does."""
        command = leave.Take(call.id, current)
        return await self.stage.platform.write(self.stage.admin, leave.take, command)

    async def end(self, call: CallRecord, state: CallState = CallState.SUCCEEDED) -> CallRecord | None:
        """Write down what came of a call."""
        ended = Ended(call.id, state, 5, is_error=False, result={"content": []})
        return await self.stage.platform.write(self.stage.admin, calls.end, ended)

    async def get(self, call: CallRecord, *, by: Caller | None = None) -> CallRecord:
        """The record as it is now."""
        return await self.stage.platform.read(by or self.stage.admin, get_call, CallId(call.id))

    async def approval(self, call: CallRecord, *, by: Caller | None = None) -> Approval:
        """The approval of a call."""
        assert call.approval_id is not None
        query = approval_queue.GetApproval(call.approval_id)
        return await self.stage.platform.read(by or self.stage.admin, approval_queue.get_approval, query)

    async def principal(self, caller: Caller) -> UUID:
        """The id of a caller's principal, which has a row from now on."""

        async def ensure(tx: Tx, _: None) -> UUID:
            owner = str(caller.principal_id)
            return await ensure_principal(
                tx, tx.caller.tenant_id, OwnerType.USER, owner, owner, caller.principal_id
            )

        return await self.stage.platform.write(self.stage.admin, ensure, None)

    async def keep(self, caller: Caller, days: int) -> None:
        """Let the lease of a caller last."""

        async def renew(tx: Tx, _: None) -> None:
            lease = t.lease.c
            until = tx.now + timedelta(days=days)
            await tx.run(sa.update(t.lease).where(lease.lease_id == caller.lease_id).values(until=until))

        await self.stage.platform.write(self.stage.admin, renew, None)

    async def executing(self, role: str | None = None) -> Caller:
        """A caller with the token of a task that it does."""
        tags = [] if role is None else [f"role:{role}"]
        agent = await self.stage.agent(routing_tags=tags)
        agent, task, lease_id = await self.stage.started(agent, role=role)
        return replace(agent, face="mcp", task_id=task.id, lease_id=lease_id)


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> AsyncIterator[Stage]:
    """An operator, a submitter, and agents, judged when the test is over."""
    stage = Stage(platform, clock)
    yield stage
    offended = law.offences(await stage.numbered())
    assert not offended, law.verdict(offended)


@pytest.fixture
async def gateway(stage: Stage) -> Gateway:
    """One server, and nobody to whom it is granted."""
    gateway = Gateway(stage)
    await gateway.server()
    return gateway
