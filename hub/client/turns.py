"""`hub.turns`: doing a turn of an editor's session, beside what doing any task needs."""

from collections.abc import Mapping, Sequence
from typing import Any

from hub.client.records import Brief
from hub.client.transport import Transport


class Turns:
    """`hub.turns`. Everything is fenced by the lease of the turn's task."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def brief(self, task_id: str, lease_id: str) -> Brief:
        """What the executor needs to know of the session.

        Raises:
            NotFound: the task is no turn of a session.
            Conflict: the lease is lost.
        """
        reply = await self._transport.call(
            "POST", f"/tasks/{task_id}/session", {"lease_id": lease_id}, repeatable=True
        )
        return Brief.of(reply.data)

    async def report(
        self,
        task_id: str,
        *,
        lease_id: str,
        agent_session_id: str | None = None,
        can_resume: bool = False,
        config_options: Sequence[Mapping[str, Any]] = (),
        modes: Mapping[str, Any] | None = None,
        commands: Sequence[Mapping[str, Any]] = (),
        agent_info: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what the executor's own session with its agent is. It replaces what was said before.

        Raises:
            NotFound: the task is no turn of a session.
            Conflict: the lease is lost.
        """
        body = {
            "lease_id": lease_id,
            "agent_session_id": agent_session_id,
            "can_resume": can_resume,
            "config_options": list(config_options),
            "modes": modes,
            "commands": list(commands),
            "agent_info": agent_info,
        }
        await self._transport.call("PUT", f"/tasks/{task_id}/session", body, repeatable=True)

    async def updates(
        self,
        task_id: str,
        updates: Sequence[Mapping[str, Any]],
        *,
        lease_id: str,
        idempotency_key: str | None = None,
    ) -> None:
        """Say what the agent said, in its own words and order: parameters of `session/update`.

        Raises:
            Conflict: the lease is lost.
        """
        body = {"lease_id": lease_id, "updates": list(updates)}
        path = f"/tasks/{task_id}/updates"
        await self._transport.call("POST", path, body, idempotency_key=idempotency_key)
