"""`hub.agents` and `hub.approvals`: who works here, and what they must be allowed to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from hub.client.records import Agent, Approval, Page
from hub.client.transport import Transport


class Agents:
    """`hub.agents`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def register(
        self,
        name: str,
        *,
        routing_tags: Sequence[str] = (),
        tools: Sequence[str] = (),
        max_concurrent: int | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Agent:
        """Register a new agent; the answer carries its own key, this once.

        Raises:
            Forbidden: an agent's own key registers no agents.
        """
        body: dict[str, Any] = {"name": name, "routing_tags": list(routing_tags), **fields}
        if tools:
            body["tools"] = {"required": [], "optional": list(tools)}
        if max_concurrent is not None:
            body["max_concurrent"] = max_concurrent
        reply = await self._transport.call("POST", "/agents/register", body, idempotency_key=idempotency_key)
        return Agent.of(reply.data)

    async def heartbeat(self, agent_id: str) -> Mapping[str, Any]:
        """Say that the agent lives. Every other call with its key says so as well."""
        reply = await self._transport.call("POST", f"/agents/{agent_id}/heartbeat", {}, repeatable=True)
        data: Mapping[str, Any] = reply.data
        return data

    async def list(self, **filters: Any) -> Page[Agent]:
        """The agents that this key may see."""
        reply = await self._transport.call("GET", "/agents", query=filters)
        return Page(items=[Agent.of(raw) for raw in reply.data], meta=reply.meta)


class Approvals:
    """`hub.approvals`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def ask(
        self,
        task_id: str,
        title: str,
        *,
        lease_id: str,
        kind: str,
        subject: Any = None,
        options: Sequence[Mapping[str, Any]] = (),
        expires_at: str | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """Ask for leave to do something in a task that the caller executes."""
        body: dict[str, Any] = {"lease_id": lease_id, "title": title, "kind": kind}
        if subject is not None:
            body["subject"] = subject
        if options:
            body["options"] = [dict(option) for option in options]
        if expires_at is not None:
            body["expires_at"] = expires_at
        path = f"/tasks/{task_id}/approvals"
        reply = await self._transport.call("POST", path, body, idempotency_key=idempotency_key)
        return Approval.of(reply.data)

    async def list(self, **filters: Any) -> Page[Approval]:
        """The approvals that this key may see; the pending ones, unless `status` says otherwise."""
        reply = await self._transport.call("GET", "/approvals", query=filters)
        rows = reply.data["approvals"] if isinstance(reply.data, Mapping) else reply.data
        return Page(items=[Approval.of(raw) for raw in rows], meta=reply.meta)

    async def get(self, approval_id: str, *, wait_seconds: int = 0) -> Approval:
        """The approval; with `wait_seconds` as soon as it is decided, or as it stands then."""
        query = {"wait_seconds": wait_seconds or None}
        reply = await self._transport.call(
            "GET", f"/approvals/{approval_id}", query=query, wait_seconds=wait_seconds
        )
        return Approval.of(reply.data)

    async def decide(
        self,
        approval_id: str,
        *,
        option_id: str | None = None,
        action: str | None = None,
        feedback: str | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """Decide, with one of the options or an action. The first decision wins.

        Raises:
            Conflict: it is already decided.
            Forbidden: this key may not decide it; whoever does the task never may.
        """
        given = {"option_id": option_id, "action": action, "feedback": feedback}
        body = {name: value for name, value in given.items() if value is not None}
        path = f"/approvals/{approval_id}"
        reply = await self._transport.call("POST", path, body, idempotency_key=idempotency_key)
        return Approval.of(reply.data)
