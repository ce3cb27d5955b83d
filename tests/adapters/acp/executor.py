"""An executor of turns over REST."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tests.hub.api.hub import Answer


class Rest(Protocol):
    """A hub, as far as its REST API goes."""

    async def send(self, method: str, path: str, *, key: str, json: Any = None) -> Answer:
        """One request."""

    async def post(self, path: str, json: Any = None, *, key: str) -> Answer:
        """POST below `/api/v1`."""

    async def agent(self, **fields: Any) -> Mapping[str, Any]:
        """Register an agent."""


def said(text: str, **more: Any) -> dict[str, Any]:
    """A chunk of the agent's message, as an executor posts it."""
    return {
        "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}, **more}
    }


@dataclass
class Held:
    """A turn in somebody's hands."""

    hub: Rest
    task: Mapping[str, Any]
    key: str

    @property
    def lease(self) -> dict[str, Any]:
        """The lease, for a body."""
        return {"lease_id": self.task["lease_id"]}

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, method: str = "POST") -> Any:
        """Call one of the task's routes under the lease; the data of the answer."""
        path, sent = f"/api/v1/tasks/{self.task['id']}/{path}", self.lease | dict(body or {})
        answer = await self.hub.send(method, path, json=sent, key=self.key)
        return None if answer.status == 204 else answer.data

    async def say(self, *updates: Mapping[str, Any] | str) -> None:
        """Tell what the agent said, in one post."""
        posted = [said(update) if isinstance(update, str) else update for update in updates]
        await self.post("updates", {"updates": posted})

    async def session(self) -> Any:
        """What the executor is told of the session."""
        return await self.post("session")

    async def ask(self, *options: tuple[str, str], **subject: Any) -> Mapping[str, Any]:
        """Ask for leave to do something: the approval."""
        offered = [
            {"id": id, "name": id.title(), "kind": kind}
            for id, kind in options or (("yes", "allow_once"), ("no", "reject_once"))
        ]
        call = {"toolCallId": "call-1", "title": "Write a file", "kind": "edit", **subject}
        body = {
            "title": "Write a file",
            "kind": "tool_call",
            "subject": {"toolCall": call},
            "options": offered,
        }
        asked: Mapping[str, Any] = await self.post("approvals", body)
        return asked

    async def elicit(self, schema: Mapping[str, Any] | None = None, **raw: Any) -> Mapping[str, Any]:
        """Ask as an ACP agent does, holding the lease."""
        params = {"mode": "form", "message": "Which?", "requestedSchema": dict(schema or {}), **raw}
        part = {"text": params["message"], "metadata": {"acp/elicitation": params}}
        asked: Mapping[str, Any] = await self.post("request-input", {"parts": [part], "hold": True})
        return asked

    async def complete(self, reason: str = "end_turn", **output: Any) -> None:
        """End the turn."""
        body = {"output": {"text": None, "stopReason": reason, **output}}
        await self.post("complete", body)

    async def cancelled(self, extend: int = 60) -> bool:
        """Whether the turn was asked to stop, once it is or after a while."""
        told = await self.post("lease", {"extend_seconds": extend, "wait_seconds": 15})
        return bool(told["cancel_requested"])


@dataclass
class Worker:
    """An executor that does what a test tells it, as `crossdock worker --acp` would."""

    hub: Rest
    id: str
    key: str

    @classmethod
    async def registered(cls, hub: Rest, name: str = "coder", **fields: Any) -> "Worker":
        """A new one; it takes turns of any session."""
        agent = await hub.agent(name=name, protocol="acp", routing_tags=["acp"], max_concurrent=8, **fields)
        return cls(hub, agent["id"], agent["api_key"])

    async def take(self) -> Held:
        """The next turn, started."""
        body = {"agent_id": self.id, "start": True, "wait_seconds": 15}
        answer = await self.hub.post("/tasks/claim", body, key=self.key)
        assert answer.status == 200, "no turn came"
        return Held(self.hub, answer.data, self.key)

    async def nothing(self) -> bool:
        """Whether there is nothing to take now."""
        answer = await self.hub.post("/tasks/claim", {"agent_id": self.id}, key=self.key)
        return answer.status == 204

    async def echo(self, *texts: str, reason: str = "end_turn") -> Held:
        """Do the next turn with these words."""
        held = await self.take()
        for text in texts:
            await held.say(text)
        await held.complete(reason)
        return held
