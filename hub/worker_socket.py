"""`GET /api/v1/events` with an upgrade: a worker's socket, over which work and signals are pushed to it.

Each replica offers work on its own sockets, by claims under a short lease (`core/workers/dispatch.py`). An
offer that is not acknowledged in time goes back to the queue; so does one whose socket or hub is gone.
"""

import asyncio
import contextlib
from typing import Final
from uuid import UUID

from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from core.caller import Caller
from core.errors import Forbidden, HubError, NotFound
from core.principals import OwnerType
from core.tasks.claim import ClaimTasks, claim_waiting, waiting_topics
from core.tasks.task import Claimed
from core.workers.dispatch import AcceptOffer, WithdrawOffer, accept, withdraw
from core.workers.heartbeats import WorkerHeartbeat, heartbeat
from core.workers.records import Worker, WorkerId
from core.workers.registry import agents_of, get_worker
from core.workers.signals import AckSignal, Signal, ack_signal, pending_signals
from hub.api import rendering
from hub.api.call import Shared
from hub.middleware import authenticated
from hub.sockets import Socket, accepted, serve
from schemas.v1 import sockets as v1
from schemas.v1.fields import stamp
from schemas.vocabulary import WorkerStatus

ACK_SECONDS: Final = 15.0
_MARGIN: Final = 5
"""Seconds that the lease of an offer outlasts its time for an answer."""
_STEP: Final = 1.0
_RECONNECT: Final = {"min_ms": 1000, "max_ms": 60_000, "jitter": True}


class WorkerSocket:
    """Serves one socket for each call; a worker may have several, here and on other replicas."""

    def __init__(self, shared: Shared, ack_seconds: float | None = None) -> None:
        self._shared = shared
        self._ack_seconds = ACK_SECONDS if ack_seconds is None else ack_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket.

        Raises:
            HubError: no valid credential, no worker's, or too many sockets; nothing was accepted.
        """
        caller = await authenticated(scope)
        if caller.owner_type != OwnerType.WORKER.value:
            raise Forbidden("this socket is for registered workers, with their own key")
        platform = self._shared.platform
        try:
            worker = await platform.read(caller, get_worker, WorkerId(caller.principal_id))
        except NotFound:
            raise Forbidden("this key's worker is not registered") from None
        with self._shared.streams.taken_by(caller.principal_id):
            if not await accepted(receive, send):
                return
            socket = Socket(send)
            desk = _Desk(self._shared, caller, worker, socket, self._ack_seconds)
            try:
                await serve(self._shared, scope, receive, socket, desk.hear, desk.work)
            finally:
                await desk.close()


class _Offer:
    def __init__(self, item: Claimed, agent_id: UUID) -> None:
        self.item = item
        self.agent_id = agent_id
        self.waiting: asyncio.Task[None] | None = None


class _Desk:
    """What is between the hub and one connected worker."""

    def __init__(
        self, shared: Shared, caller: Caller, worker: Worker, socket: Socket, ack_seconds: float
    ) -> None:
        self._platform = shared.platform
        self._caller = caller
        self._worker = worker
        self._socket = socket
        self._ack_seconds = ack_seconds
        self._offers: dict[UUID, _Offer] = {}
        self._resting: dict[UUID, float] = {}
        self._full: set[UUID] = set()
        self._told: set[UUID] = set()

    async def hear(self, text: str) -> None:
        """One frame of the worker."""
        try:
            frame = v1.WORKER_FRAME.validate_json(text)
        except ValidationError:
            types = "task.assignment_ack, signal.ack or worker.heartbeat"
            await self._socket.refuse("INVALID_PAYLOAD", f"a frame is one of {types}, as documented")
            return
        try:
            if isinstance(frame, v1.AssignmentAck):
                await self._accept(frame)
            elif isinstance(frame, v1.SignalAck):
                ack = AckSignal(self._worker.id, frame.signal_id)
                await self._platform.write(self._caller, ack_signal, ack)
            else:
                await self._beat(frame)
        except HubError as error:
            about = {"task_id": frame.task_id} if isinstance(frame, v1.AssignmentAck) else {}
            await self._socket.refuse(error.code.value, error.message, **about)

    async def _accept(self, frame: v1.AssignmentAck) -> None:
        offer = self._offers.get(frame.task_id)
        if offer is None or frame.agent_id not in (None, offer.agent_id):
            raise NotFound("this was not offered here, or its time is over")
        del self._offers[frame.task_id]
        if offer.waiting is not None:
            offer.waiting.cancel()
        seconds = max(60, 3 * self._worker.heartbeat_interval_seconds)
        command = AcceptOffer(frame.task_id, offer.item.lease_id, seconds)
        await self._platform.write(self._caller, accept, command)

    async def _beat(self, frame: v1.Beat) -> None:
        tasks = frame.current_tasks
        if frame.current_task_id is not None:
            tasks = list(dict.fromkeys([frame.current_task_id, *(tasks or ())]))
        said = WorkerHeartbeat(self._worker.id, frame.status, tasks, frame.metrics)
        heard = await self._platform.write(self._caller, heartbeat, said)
        for signal in heard.signals:
            await self._tell(signal)

    async def work(self) -> None:
        """Greet, then push whatever there is."""
        await self._platform.write(self._caller, heartbeat, WorkerHeartbeat(self._worker.id))
        await self._socket.send("connection.ready", reconnect=_RECONNECT, worker_id=self._worker.id)
        asked = WorkerId(self._worker.id)
        while True:
            agents = await self._platform.read(self._caller, agents_of, asked)
            topics = [f"worker:{self._worker.id}"]
            for agent_id in agents:
                if agent_id not in self._full:  # a wake-up of a route is one waiter's: it must be able to act
                    topics += await self._platform.read(self._caller, waiting_topics, ClaimTasks(agent_id))
            with self._platform.hints.listen(topics) as woken:  # armed before the database is asked
                for signal in await self._platform.read(self._caller, pending_signals, asked):
                    if signal.id not in self._told:
                        await self._tell(signal)
                offered = [await self._offer(agent_id) for agent_id in agents]
                if not any(offered):
                    await woken.wait(_STEP)

    async def _tell(self, signal: Signal) -> None:
        self._told.add(signal.id)
        await self._socket.send(
            "worker.signal",
            id=signal.id,
            signal_id=signal.id,
            signal_type=signal.type,
            task_id=signal.task_id,
            data=signal.data,
            issued_at=stamp(signal.issued_at),
        )

    async def _offer(self, agent_id: UUID) -> bool:
        """Offer the agent one task, if there is one and it answers at all."""
        if self._resting.get(agent_id, 0.0) > self._platform.monotonic():
            return False
        seconds = int(self._ack_seconds) + _MARGIN
        wanted = ClaimTasks(agent_id, lease_seconds=seconds, include_context=True)
        claims = await claim_waiting(self._platform, self._caller, wanted, 0)
        (self._full.add if claims.replayed else self._full.discard)(agent_id)
        if claims.replayed or not claims.items:
            return False
        offer = _Offer(claims.items[0], agent_id)
        task_id = offer.item.task.id
        self._offers[task_id] = offer
        await self._socket.send(
            "task.assigned",
            task=rendering.claimed(offer.item),
            agent_id=agent_id,
            ack_timeout_ms=int(self._ack_seconds * 1000),
        )
        if task_id in self._offers:
            offer.waiting = asyncio.create_task(self._time_out(task_id), name="acknowledgement")
        return True

    async def _time_out(self, task_id: UUID) -> None:
        await asyncio.sleep(self._ack_seconds)
        offer = self._offers.pop(task_id, None)
        if offer is not None:
            self._resting[offer.agent_id] = self._platform.monotonic() + self._ack_seconds
            await self._withdraw(offer, late=True)

    async def _withdraw(self, offer: _Offer, *, late: bool) -> None:
        command = WithdrawOffer(offer.item.task.id, offer.item.lease_id, late)
        with contextlib.suppress(HubError):  # the lease of the offer runs out by itself where this fails
            await self._platform.write(self._caller, withdraw, command)

    async def close(self) -> None:
        """Take back what was not acknowledged, and note that the worker is gone."""
        offers, self._offers = list(self._offers.values()), {}
        for offer in offers:
            if offer.waiting is not None:
                offer.waiting.cancel()
            await self._withdraw(offer, late=False)
        gone = WorkerHeartbeat(self._worker.id, WorkerStatus.DISCONNECTED)
        with contextlib.suppress(HubError):
            await self._platform.write(self._caller, heartbeat, gone)
