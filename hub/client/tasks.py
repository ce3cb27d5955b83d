"""`hub.tasks`: asking for work, doing it, and following it."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from hub.client.errors import WaitTimeout
from hub.client.events import BEGINNING, Events
from hub.client.records import FINAL, Artifact, Claim, Event, Lease, Message, Page, Task
from hub.client.transport import Transport

Parts = Sequence[Mapping[str, Any]]


class Tasks:
    """`hub.tasks`. Every write takes `idempotency_key`; with one it is repeated until it is answered."""

    def __init__(self, transport: Transport, events: Events) -> None:
        self._transport = transport
        self._events = events

    # --- asking for work ---

    async def create(
        self,
        title: str,
        *,
        input: Any = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Task:
        """Submit a task. `fields` are the other fields of the API: `description`, `required_tags`, …"""
        body = _body(title=title, input=input, **fields)
        return Task.of(await self._post("/tasks", body, idempotency_key))

    async def get(self, task_id: str) -> Task:
        """The task as it stands.

        Raises:
            NotFound: no such task, or not one that this key may see.
        """
        return Task.of((await self._transport.call("GET", f"/tasks/{task_id}")).data)

    async def list(self, **filters: Any) -> Page[Task]:
        """One page of the tasks that this key may see, newest first."""
        reply = await self._transport.call("GET", "/tasks", query=filters)
        return Page(items=[Task.of(raw) for raw in reply.data], meta=reply.meta)

    async def all(self, **filters: Any) -> AsyncIterator[Task]:
        """Every task that the filters leave, page by page."""
        number = pages = 1
        while number <= pages:
            page = await self.list(**{"per_page": 100, **filters, "page": number})
            for task in page.items:
                yield task
            number, pages = number + 1, page.pages

    async def input(
        self,
        task_id: str,
        text: str | None = None,
        *,
        parts: Parts | None = None,
        data: Any = None,
        input_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Answer what the task waits for; without `input_id` the oldest open request."""
        body = _body(parts=_parts(text, parts), data=data, input_id=input_id)
        return Task.of(await self._post(f"/tasks/{task_id}/input", body, idempotency_key))

    async def cancel(
        self,
        task_id: str,
        *,
        reason: str | None = None,
        grace_seconds: float | None = None,
        lease_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Cancel the task; with `lease_id` its executor confirms a cancellation that was asked for."""
        body = _body(reason=reason, grace_seconds=grace_seconds, lease_id=lease_id)
        return Task.of(await self._post(f"/tasks/{task_id}/cancel", body, idempotency_key))

    async def retry(self, task_id: str, *, force: bool = False, idempotency_key: str | None = None) -> Task:
        """Do a failed task again; with `force` also one that did not fail."""
        return Task.of(await self._post(f"/tasks/{task_id}/retry", {"force": force}, idempotency_key))

    async def resolve_escalation(
        self, task_id: str, instructions: str, *, idempotency_key: str | None = None
    ) -> Task:
        """Decide what was put before people: the task goes on with that."""
        body = {"instructions": instructions}
        return Task.of(await self._post(f"/tasks/{task_id}/resolve-escalation", body, idempotency_key))

    # --- following ---

    async def follow(self, task_id: str, *, after: str = BEGINNING) -> AsyncGenerator[Event, None]:
        """The task's events from its birth, or after a cursor, as they happen, until it is final.

        Lost connections and a restarting hub are bridged without a gap or a repeat.

        Raises:
            NotFound: no such task, or not one that this key may see.
        """
        task = await self.get(task_id)
        if task.final:
            async for event in self._events.all(after=after, entity_type="task", entity_id=task_id):
                yield event
            return
        stream = self._events.stream(after=after, entity_type="task", entity_id=task_id)
        async with aclosing(stream):
            async for event in stream:
                yield event
                # A reopened task has final events in its past; only one beyond the snapshot ends the story.
                if event.data.get("to_state") in FINAL and (event.version or task.version) >= task.version:
                    return

    async def wait(self, task_id: str, *, timeout: float | None = None) -> Task:
        """The task, once it is final.

        Raises:
            WaitTimeout: it was not final in time, and goes on.
        """
        try:
            async with asyncio.timeout(timeout):
                async with aclosing(self.follow(task_id)) as events:
                    async for _ in events:
                        pass
                return await self.get(task_id)
        except TimeoutError as error:
            raise WaitTimeout(f"task {task_id} is not final after {timeout:g} s; it goes on") from error

    async def messages(
        self, task_id: str, *, after: int | None = None, limit: int | None = None
    ) -> Page[Message]:
        """The task's messages in order, from the one behind number `after` on."""
        query = {"after": after, "limit": limit}
        reply = await self._transport.call("GET", f"/tasks/{task_id}/messages", query=query)
        return Page(items=[Message.of(raw) for raw in reply.data], meta=reply.meta)

    async def artifacts(self, task_id: str) -> Page[Artifact]:
        """What the task's executors made."""
        reply = await self._transport.call("GET", f"/tasks/{task_id}/artifacts")
        return Page(items=[Artifact.of(raw) for raw in reply.data], meta=reply.meta)

    # --- doing work ---

    async def claim(
        self,
        agent_id: str,
        *,
        wait_seconds: int = 0,
        start: bool = False,
        lease_seconds: int | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Claim | None:
        """The next task for the agent, or None when none came within `wait_seconds`.

        An agent without a free place gets the task that it already has, under the same lease.
        """
        claims = await self._claim(agent_id, wait_seconds, start, lease_seconds, idempotency_key, fields)
        return claims[0] if claims else None

    async def escalate(
        self, task_id: str, reason: str, *, lease_id: str, idempotency_key: str | None = None
    ) -> Task:
        """Put a task that the caller executes before people. The attempt is over."""
        body = {"reason": reason, "lease_id": lease_id}
        return Task.of(await self._post(f"/tasks/{task_id}/agent-escalate", body, idempotency_key))

    async def claim_many(
        self,
        agent_id: str,
        limit: int,
        *,
        wait_seconds: int = 0,
        start: bool = False,
        lease_seconds: int | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Sequence[Claim]:
        """Up to `limit` tasks at once; empty when none came within `wait_seconds`.

        Raises:
            AgentBusy: the agent has fewer free places than `limit`.
        """
        fields["limit"] = limit
        return await self._claim(agent_id, wait_seconds, start, lease_seconds, idempotency_key, fields)

    async def lease(
        self,
        task_id: str,
        lease_id: str,
        *,
        extend_seconds: int | None = None,
        wait_seconds: int = 0,
        known_state: str | None = None,
    ) -> Lease:
        """Renew the lease. With `wait_seconds` it answers late, or as soon as something happens.

        With `known_state` it answers at once when the task is in another state already.

        Raises:
            Conflict: the lease is lost; `reason_code` says how. Drop the result.
        """
        body = _body(
            lease_id=lease_id,
            extend_seconds=extend_seconds,
            wait_seconds=wait_seconds or None,
            known_state=known_state,
        )
        reply = await self._transport.call(
            "POST", f"/tasks/{task_id}/lease", body, repeatable=True, wait_seconds=wait_seconds
        )
        return Lease.of(reply.data)

    async def start(self, task_id: str, *, lease_id: str, idempotency_key: str | None = None) -> Task:
        """Say that the work has begun. Repeating it changes nothing."""
        return Task.of(await self._post(f"/tasks/{task_id}/start", {"lease_id": lease_id}, idempotency_key))

    async def message(
        self,
        task_id: str,
        text: str | None = None,
        *,
        parts: Parts | None = None,
        role: str | None = None,
        lease_id: str | None = None,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        final: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Message:
        """Add a message to the task's conversation; an executor names its lease."""
        body = _body(
            parts=_parts(text, parts),
            role=role,
            lease_id=lease_id,
            message_id=message_id,
            metadata=metadata,
            final=final,
        )
        return Message.of(await self._post(f"/tasks/{task_id}/messages", body, idempotency_key))

    async def artifact(
        self,
        task_id: str,
        text: str | None = None,
        *,
        parts: Parts | None = None,
        path: str | None = None,
        content: bytes | None = None,
        content_type: str | None = None,
        artifact_id: str | None = None,
        name: str | None = None,
        description: str | None = None,
        append: bool | None = None,
        last_chunk: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
        lease_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Artifact:
        """Make an artifact, or with `append` lengthen one: of parts, or a file (`path`, `content`)."""
        body = _body(
            parts=_parts(text, parts),
            path=path,
            content_base64=None if content is None else base64.b64encode(content).decode(),
            content_type=content_type,
            artifact_id=artifact_id,
            name=name,
            description=description,
            append=append,
            last_chunk=last_chunk,
            metadata=metadata,
            lease_id=lease_id,
        )
        return Artifact.of(await self._post(f"/tasks/{task_id}/artifacts", body, idempotency_key))

    async def progress(
        self,
        task_id: str,
        items: Sequence[Mapping[str, Any]],
        *,
        lease_id: str,
        idempotency_key: str | None = None,
    ) -> Sequence[str]:
        """Tell much at once, all of it or nothing; the id of each artifact or message.

        `items` are as the API has them: `{"kind": "artifact", …}` or `{"kind": "message", …}`.
        """
        body = {"lease_id": lease_id, "items": items}
        told = await self._post(f"/tasks/{task_id}/progress", body, idempotency_key)
        return [str(id) for id in told["ids"]]

    async def request_input(
        self,
        task_id: str,
        text: str | None = None,
        *,
        lease_id: str,
        parts: Parts | None = None,
        kind: str = "input",
        schema: Mapping[str, Any] | None = None,
        hold: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Ask whoever submitted the task.

        Without `hold` the attempt ends here, and the answer puts the task back into the queue.
        """
        body = _body(parts=_parts(text, parts), lease_id=lease_id, kind=kind, schema=schema, hold=hold)
        return Task.of(await self._post(f"/tasks/{task_id}/request-input", body, idempotency_key))

    async def complete(
        self,
        task_id: str,
        output: Any = None,
        *,
        lease_id: str,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Task:
        """Finish the task with its output. Repeating it with an equal output changes nothing."""
        body = {"lease_id": lease_id, "output": output, **_body(**fields)}
        return Task.of(await self._post(f"/tasks/{task_id}/complete", body, idempotency_key))

    async def fail(
        self,
        task_id: str,
        message: str,
        *,
        lease_id: str,
        category: str = "execution_error",
        recoverable: bool = False,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Task:
        """Say that the attempt failed. Whether another follows is the task's policy."""
        error = {"category": category, "message": message, "recoverable": recoverable}
        body = _body(lease_id=lease_id, error=error, **fields)
        return Task.of(await self._post(f"/tasks/{task_id}/fail", body, idempotency_key))

    async def refuse(
        self,
        task_id: str,
        reason: str,
        *,
        lease_id: str,
        requeue: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Give the task back: for good, or with `requeue` for others to do."""
        body = _body(lease_id=lease_id, reason=reason, requeue=requeue)
        return Task.of(await self._post(f"/tasks/{task_id}/refuse", body, idempotency_key))

    async def _claim(
        self,
        agent_id: str,
        wait_seconds: int,
        start: bool,
        lease_seconds: int | None,
        idempotency_key: str | None,
        fields: Mapping[str, Any],
    ) -> Sequence[Claim]:
        body = _body(
            agent_id=agent_id,
            wait_seconds=wait_seconds or None,
            start=start or None,
            lease_seconds=lease_seconds,
            **fields,
        )
        reply = await self._transport.call(
            "POST", "/tasks/claim", body, idempotency_key=idempotency_key, wait_seconds=wait_seconds
        )
        found = reply.data or ()
        return [Claim.of(raw) for raw in ((found,) if isinstance(found, Mapping) else found)]

    async def _post(self, path: str, body: Mapping[str, Any], idempotency_key: str | None) -> Any:
        return (await self._transport.call("POST", path, body, idempotency_key=idempotency_key)).data


def _body(**fields: Any) -> dict[str, Any]:
    """The fields that were given: the hub's own defaults stand for the others."""
    return {name: value for name, value in fields.items() if value is not None}


def _parts(text: str | None, parts: Parts | None) -> Parts | None:
    return parts if text is None else [{"text": text}, *(parts or ())]
