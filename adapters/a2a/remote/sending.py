"""Brings what was said to our task to the remote agent: once, as far as that can be known.

The intent is written before anything is sent. When the connection fails in between, a remote agent that
recognises repeats gets it again under the same key; at any other one the hub looks for what it sent, and does
not send again what it does not find.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID

from adapters.a2a.remote import compose
from adapters.a2a.remote.answers import Frame
from adapters.a2a.remote.failures import NotSent, Refused, RemoteError, Unauthorized, Unreached
from adapters.a2a.remote.pace import Pace
from adapters.a2a.remote.peer import Peer, logger
from core.delegations import Attached, Begin, Delegation, Sending, Unsent, attached, begin, sending, unsent
from core.tasks.messages import ListMessages, list_messages
from core.tasks.task import Message, Task
from schemas.vocabulary import DelegationState

Frames = AsyncGenerator[Sequence[Frame], None]

_PAGE = 1000
UNSUPPORTED = frozenset({"UNSUPPORTED_OPERATION", "METHOD_NOT_FOUND"})


class OutcomeUnknown(Exception):
    """Something was sent, nobody knows whether it arrived, and it cannot be sent again safely."""


class TooManyHops(Exception):
    """The work has been handed on so often that it is going round in circles."""


class Sender:
    """What was sent of one task, and what is still to be sent."""

    def __init__(self, peer: Peer, task: Task, lease_id: UUID, said: Sequence[Message], pace: Pace) -> None:
        self._peer = peer
        self._task = task
        self._lease = lease_id
        self._said = said
        self._pace = pace
        self._delegation: Delegation | None = None
        self._sending = asyncio.Lock()
        self._context: str | None = None
        self._looked = 0
        """The history up to here holds nothing that is still to be sent."""
        self.unsettled = False
        """Whether something was sent of which nobody knows whether it arrived: `open` finds out."""
        self.quiet = asyncio.Event()
        """Set while nothing is under way whose outcome is not written down."""
        self.quiet.set()
        self.streams = peer.client.streaming
        self.refusal: str | None = None
        """Why the remote agent did not take the last answer."""

    @property
    def begun(self) -> bool:
        """Whether there is a delegation."""
        return self._delegation is not None

    @property
    def delegation(self) -> Delegation:
        """Where the delegation stands."""
        assert self._delegation is not None, "it has begun"
        return self._delegation

    async def begin(self) -> None:
        """Take up the delegation of the task, or make it. Raises HubError."""
        command = Begin(
            self._task.id,
            self._lease,
            self._peer.agent.id,
            compose.conversation_of(self._task, self._peer.agent.id),
        )
        self._delegation = await self._write(begin, command)
        self._context = self.delegation.context_id

    async def open(self) -> Frames | None:
        """What there is to send, on its way; None when there is nothing. Nothing is sent before it is read.

        Raises:
            OutcomeUnknown, TooManyHops, RemoteError, HubError.
        """
        state = self.delegation.state
        if state is DelegationState.UNSENT:
            return await self._first()
        if state is DelegationState.SENDING:
            return await self.recover()
        if self.delegation.sending_n is not None:
            await self._settle_further()
        waiting = self._since(self.delegation.sent_n)
        if not waiting:
            return None
        params = await self._further(waiting)
        return self._once(params, waiting[-1].n)

    async def recover(self) -> Frames | None:
        """Go on after a first send whose outcome is not known: send it again, or look for what it made.

        Raises:
            OutcomeUnknown: neither is possible, or nothing was found.
            RemoteError: the agent cannot be asked now.
        """
        n, context = self.delegation.sending_n or 0, self._context
        self.unsettled = True
        if self._peer.client.idempotent:
            return self._first_again()
        try:
            found = context and await self._peer.client.find(context, self._id(n))
        except Refused:
            found = None
        if not found:
            raise OutcomeUnknown(
                "The task may have reached the remote agent, which cannot recognise a repeat: it was not "
                "sent again. Retry the task to send it once more."
            )
        await self.arrived(found.id, found.context_id)
        return None

    async def arrived(self, remote_task_id: str, context_id: str | None) -> None:
        """What was sent is with the remote agent. Doing it again changes nothing. Raises HubError."""
        known = self.delegation
        if known.remote_task_id is None or known.sending_n is not None:
            held = (self._task.id, self._lease, known.id)
            # Known here even when the lease is gone and it cannot be written: it is to be cancelled then.
            self._delegation = replace(known, remote_task_id=remote_task_id, state=DelegationState.ACTIVE)
            self._delegation = await self._write(attached, Attached(*held, remote_task_id, context_id))
        self.unsettled = False
        self.quiet.set()

    async def failed(self, error: RemoteError) -> Frames | None:
        """Another way to send what was refused. None: it is given up, and the remote task goes on.

        Raises:
            RemoteError: it was refused; or not sent, and the delegation says so; or that is `unsettled`.
        """
        if isinstance(error, Unreached) or self.unsettled:
            self.unsettled = True
            raise error
        if isinstance(error, NotSent | Unauthorized):
            await self._take_back()
            raise error
        if self.delegation.remote_task_id is not None:  # an answer that was refused is given up
            self.refusal = str(error)
            await self.arrived(self.delegation.remote_task_id, self.delegation.context_id)
            return None
        if isinstance(error, Refused) and self.streams and error.reason in UNSUPPORTED:
            self.streams = False
            return self._first_again()
        if isinstance(error, Refused) and self._context and "context" in str(error).lower():
            self._context = None  # it names its conversations itself
            return self._first_again()
        raise error

    async def _take_back(self) -> None:
        held = (self._task.id, self._lease, self.delegation.id)
        self._delegation = await self._write(unsent, Unsent(*held))
        self.unsettled = False
        self.quiet.set()

    async def further(self) -> None:
        """Bring what was said to our task meanwhile; the answer is heard elsewhere. Raises HubError."""
        async with self._sending:
            known = self.delegation
            if known.remote_task_id is None or known.state is not DelegationState.ACTIVE:
                return
            waiting = await self._heard_since(known.sent_n)
            if not waiting:
                return
            params = await self._further(waiting)
            n = waiting[-1].n
            try:
                await self._peer.client.send(params, self._id(n))
            except NotSent:
                await self._take_back()
                return
            except RemoteError as error:
                # Refused, or nobody knows: to say it again could have it done twice.
                logger.info("a message to remote task %s was lost: %s", known.remote_task_id, error)
            await self.arrived(str(known.remote_task_id), known.context_id)

    async def _heard_since(self, n: int) -> Sequence[Message]:
        """What was said to our task after `n`; what the remote agent says comes between, and may be much."""
        while True:
            query = ListMessages(self._task.id, after=max(n, self._looked), limit=_PAGE)
            page = await self._peer.platform.read(self._peer.caller, list_messages, query)
            said = compose.spoken(page)
            if said or len(page) < _PAGE:
                self._looked = said[0].n - 1 if said else page[-1].n if page else self._looked
                return said
            self._looked = page[-1].n

    async def _first(self) -> Frames:
        said = self._since(0)
        if compose.hops_of(said) >= compose.MAX_HOPS:
            raise TooManyHops(f"the work has come through {compose.MAX_HOPS} hubs already")
        n = said[-1].n if said else 0
        await self._intend(n)
        return self._way(self._params_of_first(n), n)

    def _first_again(self) -> Frames:
        n = self.delegation.sending_n or 0
        return self._way(self._params_of_first(n), n)

    def _params_of_first(self, n: int) -> dict[str, Any]:
        said = [message for message in compose.spoken(self._said) if message.n <= n]
        return compose.send_params(
            self._task,
            said,
            message_id=self._id(n),
            hops=compose.hops_of(said) + 1,
            context_id=self._context,
        )

    async def _further(self, said: Sequence[Message]) -> dict[str, Any]:
        n, known = said[-1].n, self.delegation
        await self._intend(n)
        return compose.send_params(
            self._task,
            said,
            message_id=self._id(n),
            hops=compose.hops_of(said) + 1,
            context_id=known.context_id,
            remote_task_id=known.remote_task_id,
        )

    async def _settle_further(self) -> None:
        """A later message was on its way when its sender died: see whether it arrived."""
        known = self.delegation
        n, task_id = known.sending_n or 0, str(known.remote_task_id)
        self.unsettled = True
        if self._peer.client.idempotent:
            await self._take_back()
            return  # it is sent again, under the same key
        task = await self._peer.client.get_task(task_id)
        heard = any(said.id == self._id(n) for said in task.history)
        same = task.status.interrupted and known.asked and task.status.identity == known.asked[-1]
        if heard or not same:
            await self.arrived(task_id, task.context_id)
        else:
            await self._take_back()

    async def _way(self, params: dict[str, Any], n: int) -> Frames:
        way = self._peer.client.send_streaming(params, self._id(n)) if self.streams else self._once(params, n)
        async with aclosing(way) as frames:
            async for batch in frames:
                yield batch

    async def _once(self, params: dict[str, Any], n: int) -> Frames:
        """Send without a stream: an answer belongs to a task, whose stream is opened beside it."""
        yield [await self._peer.client.send(params, self._id(n))]

    async def _intend(self, n: int) -> None:
        held = (self._task.id, self._lease, self.delegation.id)
        self.quiet.clear()
        self._delegation = await self._write(sending, Sending(*held, n))

    def _since(self, n: int) -> Sequence[Message]:
        return [message for message in compose.spoken(self._said) if message.n > n]

    def _id(self, n: int) -> str:
        return compose.message_id_of(self.delegation.id, n)

    async def _write(self, command: Any, argument: Any) -> Delegation:
        made: Delegation = await self._peer.platform.write(self._peer.caller, command, argument)
        return made
