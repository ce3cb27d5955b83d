"""`hub.workflows` and `hub.playbooks`: what is to be done, and how far it is."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from hub.client.events import BEGINNING, Events
from hub.client.records import Event, Page
from hub.client.transport import Transport

OVER = frozenset({"completed", "failed", "cancelled"})
"""The states that a workflow does not leave."""
Record = Mapping[str, Any]
"""What the API says, as it says it."""


class Playbooks:
    """`hub.playbooks`, and the workspaces and roles that they are used with."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self, name: str, outcome: str, definition: Record | None = None, **fields: Any
    ) -> Record:
        """Make a playbook, in its first version.

        Raises:
            Invalid: the definition is wrong; the message says where and what.
            Conflict: there is one with this slug.
        """
        body = {"name": name, "outcome": outcome, "definition": definition, **fields}
        return await _sent(self._transport, "POST", "/playbooks", body)

    async def update(self, playbook_id: str, **changes: Any) -> Record:
        """Make the next version."""
        return await _sent(self._transport, "PATCH", f"/playbooks/{playbook_id}", changes)

    async def list(self) -> Sequence[Record]:
        """The versions in use."""
        return [*(await self._transport.call("GET", "/playbooks")).data]

    async def workspace(self, slug: str, name: str | None = None, **fields: Any) -> Record:
        """The workspace with that slug, made if there is none."""
        found = await self._transport.call("GET", "/workspaces", query={"q": slug, "per_page": 100})
        for known in found.data:
            if known["slug"] == slug:
                record: Record = known
                return record
        body = {"slug": slug, "name": name or slug, **fields}
        return await _sent(self._transport, "POST", "/workspaces", body)


class Workflows:
    """`hub.workflows`. Every write takes `request_id`; with one it happens once."""

    def __init__(self, transport: Transport, events: Events) -> None:
        self._transport = transport
        self._events = events

    async def create(self, playbook_id: str, workspace_id: str, name: str, **fields: Any) -> Record:
        """Start a workflow. `fields` are the other fields of the API: `parameters`, `metadata`, …"""
        body = {"playbook_id": playbook_id, "workspace_id": workspace_id, "name": name, **fields}
        return await _sent(self._transport, "POST", "/workflows", body)

    async def get(self, workflow_id: str) -> Record:
        """The workflow with its stages, tasks and activations."""
        return await self._read(f"/workflows/{workflow_id}")

    async def list(self, **filters: Any) -> Page[Record]:
        """One page of the workflows, newest first."""
        reply = await self._transport.call("GET", "/workflows", query=filters)
        return Page(items=[*reply.data], meta=reply.meta)

    async def board(self, workflow_id: str) -> Record:
        """The workflow at a glance."""
        return await self._read(f"/workflows/{workflow_id}/board")

    async def gates(self, workflow_id: str) -> Sequence[Record]:
        """Its gates, oldest first."""
        reply = await self._transport.call("GET", f"/workflows/{workflow_id}/gates")
        return [*reply.data]

    async def decide(
        self, workflow_id: str, gate_id: str, action: str, feedback: str | None = None
    ) -> Record:
        """Decide a gate: `approve`, or with feedback `request_changes`, `reject` or `block`."""
        body = {"action": action, "feedback": feedback}
        return await _sent(self._transport, "POST", f"/workflows/{workflow_id}/gates/{gate_id}", body)

    async def pause(self, workflow_id: str, mode: str = "drain") -> Record:
        """Hold it."""
        return await _sent(self._transport, "POST", f"/workflows/{workflow_id}/pause", {"mode": mode})

    async def resume(self, workflow_id: str) -> Record:
        """Let it go on."""
        return await _sent(self._transport, "POST", f"/workflows/{workflow_id}/resume", {})

    async def cancel(self, workflow_id: str, reason: str | None = None) -> Record:
        """Stop it for good."""
        return await _sent(self._transport, "POST", f"/workflows/{workflow_id}/cancel", {"reason": reason})

    async def follow(self, workflow_id: str, *, after: str = BEGINNING) -> AsyncGenerator[Event, None]:
        """Its events and those of its tasks, from its birth, or after a cursor, until it is over."""
        stream = self._events.stream(after=after, workflow_id=workflow_id)
        async with aclosing(stream):
            async for event in stream:
                yield event
                if event.type == "workflow.state_changed" and event.data.get("to_state") in OVER:
                    return

    async def _read(self, path: str) -> Record:
        data: Record = (await self._transport.call("GET", path)).data
        return data


async def _sent(transport: Transport, method: str, path: str, body: Mapping[str, Any]) -> Record:
    given = {name: value for name, value in body.items() if value is not None}
    key = given.pop("request_id", None)
    data: Record = (await transport.call(method, path, given, idempotency_key=key)).data
    return data
