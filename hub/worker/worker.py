"""The worker: claims tasks, has a function do them, keeps their leases, reports what came of it.

It knows nothing of commands and processes. A function that is cancelled stops: its task was cancelled, its
lease is lost, its time is over, or the worker must stop at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from uuid import uuid4

from hub.client import (
    AgentBusy,
    ApiError,
    Claim,
    Conflict,
    Crossdock,
    CrossdockError,
    Forbidden,
    NotFound,
    ServerFault,
    Unauthorized,
)
from hub.client.transport import Backoff
from hub.worker.notes import Kind, Listener, Note, silence
from hub.worker.reporter import Refused, Reporter, TaskFailed

CLAIM_WAIT_SECONDS = 20
DEFAULT_TIMEOUT_MINUTES = 180.0
LONGEST_MESSAGE = 8000
FIRST_RENEWAL_SECONDS = 0.1
"""A task that is done sooner is spared the call; a cancellation is late by no more than this."""
FAULTS_PER_REPORT = 8
"""So many times a report may break the hub before the worker takes it for the report's fault."""

Handler = Callable[[Claim, Reporter], Awaitable[Any]]
"""An executor: its result is the task's output. It raises `TaskFailed` or `Refused` to end otherwise."""


class Stop(Enum):
    """Why a handler was cancelled."""

    CANCEL_REQUESTED = auto()
    LOST = auto()
    TIMEOUT = auto()


@dataclass
class _Attempt:
    claim: Claim
    reporter: Reporter
    handler: "asyncio.Task[Any]"
    stop: Stop | None = None
    reason: str = ""
    """Why it was stopped, for the story."""
    answered: bool = False
    """Whether the handler is through, so that a lost lease is only the echo of the outcome."""

    def end(self, stop: Stop, reason: str) -> None:
        """Stop the handler, once; the first reason stands, but a lost lease overrides all others."""
        informed = self.stop is not None or self.reporter.lost
        if stop is Stop.LOST:
            self.reporter.lost = True
        if self.answered or self.stop is Stop.LOST:
            return
        if self.stop is None or stop is Stop.LOST:
            self.stop, self.reason = stop, reason
        if not informed:
            self.handler.cancel()


class Worker:
    """Runs `handler` for the tasks of one agent, up to `concurrency` at a time."""

    def __init__(
        self,
        hub: Crossdock,
        handler: Handler,
        *,
        agent_id: str,
        concurrency: int = 1,
        lease_seconds: int = 60,
        timeout_minutes: float | None = DEFAULT_TIMEOUT_MINUTES,
        listener: Listener = silence,
    ) -> None:
        """`timeout_minutes` is for tasks that name none; of None the handler bounds its time itself."""
        self._hub = hub
        self._handler = handler
        self._agent_id = agent_id
        self._concurrency = concurrency
        self._lease_seconds = lease_seconds
        self._timeout_minutes = timeout_minutes
        self._listener = listener
        self._draining = asyncio.Event()
        self._leases: set[str] = set()

    def drain(self) -> None:
        """Claim nothing more. `run` ends when what is running has ended and is acknowledged."""
        self._draining.set()

    async def run(self) -> None:
        """Work until drained. Cancelling it cancels the handlers and leaves their leases to run out.

        Raises:
            Unauthorized, Forbidden, NotFound: the hub does not let this agent work.
        """
        running: set[asyncio.Task[None]] = set()
        drained = asyncio.create_task(self._draining.wait())
        try:
            while not drained.done():
                free = self._concurrency - len(running)
                if free == 0:
                    await asyncio.wait({*running, drained}, return_when=asyncio.FIRST_COMPLETED)
                else:
                    claiming = asyncio.create_task(self._claim(free))
                    try:
                        await asyncio.wait({claiming, drained}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        claiming.cancel()  # changes nothing when it is through
                    await asyncio.wait({claiming})
                    for claim in () if claiming.cancelled() else claiming.result():
                        running.add(asyncio.create_task(self._attempt(claim)))
                running = _unfinished(running)
            if running:
                self._note(Kind.DRAINING, f"draining: {len(running)} to finish")
                await asyncio.gather(*running)
        finally:
            drained.cancel()
            for task in running:
                task.cancel()
            await asyncio.gather(drained, *running, return_exceptions=True)

    # --- claiming ---

    async def _claim(self, free: int) -> Sequence[Claim]:
        """Claims that are new to this worker; empty after a while without any."""
        backoff = Backoff()
        while True:
            try:
                found = await self._ask(free)
            except AgentBusy:
                found = []
            except (Unauthorized, Forbidden, NotFound):
                raise
            except CrossdockError as error:
                await asyncio.sleep(backoff.pause(error))
                continue
            else:
                fresh = [claim for claim in found if claim.lease_id not in self._leases]
                if fresh or not found:
                    return fresh
            # The hub still counts a place as taken that is free here: what ended is on its way to it.
            await asyncio.sleep(backoff.pause())

    async def _ask(self, free: int) -> Sequence[Claim]:
        tasks = self._hub.tasks
        if self._concurrency > 1:
            return await tasks.claim_many(
                self._agent_id,
                free,
                wait_seconds=CLAIM_WAIT_SECONDS,
                start=True,
                lease_seconds=self._lease_seconds,
            )
        claim = await tasks.claim(
            self._agent_id, wait_seconds=CLAIM_WAIT_SECONDS, start=True, lease_seconds=self._lease_seconds
        )
        return [claim] if claim else []

    # --- one attempt ---

    async def _attempt(self, claim: Claim) -> None:
        self._leases.add(claim.lease_id)
        self._note(Kind.CLAIMED, f'"{claim.title}", attempt {claim.attempt}', claim)
        reporter = Reporter(self._hub, claim)
        handler = asyncio.ensure_future(self._handle(claim, reporter))
        attempt = _Attempt(claim, reporter, handler)
        keeper = asyncio.create_task(self._keep(attempt))
        timer = self._timer(attempt)
        try:
            await asyncio.wait({handler})
            attempt.answered = True
            timer.cancel()
            try:
                await self._settle(attempt)
            except CrossdockError as error:
                self._lost(claim, f"the hub does not take the outcome ({error})")
        finally:
            timer.cancel()
            keeper.cancel()
            handler.cancel()
            await asyncio.gather(keeper, handler, return_exceptions=True)
            self._leases.discard(claim.lease_id)

    def _timer(self, attempt: _Attempt) -> asyncio.TimerHandle:
        minutes = attempt.claim.timeout_minutes or self._timeout_minutes
        loop = asyncio.get_running_loop()
        if minutes is None:
            return loop.call_later(0, _nothing)
        why = f"it took longer than {minutes:g} min"
        return loop.call_later(minutes * 60, attempt.end, Stop.TIMEOUT, why)

    async def _handle(self, claim: Claim, reporter: Reporter) -> Any:
        return await self._handler(claim, reporter)

    async def _keep(self, attempt: _Attempt) -> None:
        """Renew the lease until it is lost or this is cancelled. Wishes to stop come in the same answer."""
        claim, clock = attempt.claim, asyncio.get_running_loop().time
        wait, backoff = max(1, min(30, self._lease_seconds // 3)), Backoff()
        await asyncio.sleep(FIRST_RENEWAL_SECONDS)
        while True:
            asked = clock()
            try:
                lease = await self._hub.tasks.lease(
                    claim.id,
                    claim.lease_id,
                    extend_seconds=self._lease_seconds,
                    wait_seconds=0 if attempt.stop else wait,
                )
            except (Conflict, NotFound, Forbidden, Unauthorized) as error:
                attempt.end(Stop.LOST, error.reason_code or error.message)
                return
            except CrossdockError as error:
                await asyncio.sleep(backoff.pause(error))
                continue
            if lease.cancel_requested:
                attempt.end(Stop.CANCEL_REQUESTED, "the hub asks to stop")
            if clock() - asked >= wait / 2:
                backoff = Backoff()
            elif attempt.stop:
                await asyncio.sleep(wait)
            else:
                await asyncio.sleep(backoff.pause())  # it answered early, and nothing needs doing

    async def _settle(self, attempt: _Attempt) -> None:
        """Tell the hub how the attempt ended, until it has heard."""
        claim, handler = attempt.claim, attempt.handler
        error = None if handler.cancelled() else handler.exception()
        if attempt.stop is Stop.LOST:
            self._lost(claim, attempt.reason)
        elif isinstance(error, Conflict):
            self._lost(claim, error.reason_code or error.message)
        elif not handler.cancelled() and error is None:
            await self._complete(claim, handler.result())  # also when it was faster than the wish to stop it
        elif attempt.stop is Stop.CANCEL_REQUESTED:
            reason = "stopped by its executor, as asked"
            await self._report(Kind.CANCELLED, claim, "cancelled, as asked", self._cancel(claim, reason))
        elif attempt.stop is Stop.TIMEOUT:
            failure = TaskFailed(attempt.reason, category="timeout", recoverable=True)
            await self._report(Kind.FAILED, claim, failure.message, self._fail(claim, failure))
        elif isinstance(error, Refused):
            await self._report(Kind.REFUSED, claim, error.reason, self._refuse(claim, error))
        else:
            failure = error if isinstance(error, TaskFailed) else TaskFailed(_plain(error))
            await self._report(Kind.FAILED, claim, failure.message, self._fail(claim, failure))

    async def _complete(self, claim: Claim, output: Any) -> None:
        try:
            await self._report(Kind.COMPLETED, claim, "", self._completion(claim, output))
        except (ApiError, ValueError, TypeError) as error:
            # The attempt cannot end as it should; ending it as failed says so to whoever waits for it.
            failure = TaskFailed(f"the hub does not take the output: {error}")
            await self._report(Kind.FAILED, claim, failure.message, self._fail(claim, failure))

    async def _report(self, kind: Kind, claim: Claim, text: str, send: Callable[[], Awaitable[Any]]) -> None:
        """Send an outcome until it is acknowledged; when the lease is lost it is dropped.

        Raises:
            ApiError: the hub does not take it, and never will.
        """
        backoff = Backoff()
        for fault in range(1, FAULTS_PER_REPORT + 1):
            try:
                await send()
            except Conflict as error:
                self._lost(claim, error.reason_code or error.message)
            except ServerFault as error:
                if fault == FAULTS_PER_REPORT:
                    raise
                await asyncio.sleep(backoff.pause(error))
                continue
            else:
                self._note(kind, text, claim)
            return

    def _completion(self, claim: Claim, output: Any) -> Callable[[], Awaitable[Any]]:
        key = uuid4().hex
        return lambda: self._hub.tasks.complete(
            claim.id, output, lease_id=claim.lease_id, idempotency_key=key
        )

    def _fail(self, claim: Claim, failure: TaskFailed) -> Callable[[], Awaitable[Any]]:
        key = uuid4().hex
        return lambda: self._hub.tasks.fail(
            claim.id,
            _sayable(failure.message),
            lease_id=claim.lease_id,
            category=failure.category,
            recoverable=failure.recoverable,
            idempotency_key=key,
        )

    def _refuse(self, claim: Claim, refused: Refused) -> Callable[[], Awaitable[Any]]:
        key = uuid4().hex
        return lambda: self._hub.tasks.refuse(
            claim.id,
            _sayable(refused.reason),
            lease_id=claim.lease_id,
            requeue=refused.requeue or None,
            idempotency_key=key,
        )

    def _cancel(self, claim: Claim, reason: str) -> Callable[[], Awaitable[Any]]:
        key = uuid4().hex
        return lambda: self._hub.tasks.cancel(
            claim.id, reason=reason, lease_id=claim.lease_id, idempotency_key=key
        )

    # --- the story ---

    def _lost(self, claim: Claim, reason: str) -> None:
        if reason == "task_already_cancelled":
            self._note(Kind.CANCELLED, "cancelled", claim)
        else:
            self._note(Kind.LOST, f"{reason}; the result is dropped", claim, reason=reason)

    def _note(self, kind: Kind, text: str, claim: Claim | None = None, **facts: Any) -> None:
        self._listener(Note(kind=kind, text=text, claim=claim, facts=facts))


def _nothing() -> None:
    """No time is over."""


def _unfinished(tasks: set["asyncio.Task[None]"]) -> set["asyncio.Task[None]"]:
    """The tasks that go on. An attempt that broke the worker itself breaks it here."""
    for task in tasks:
        if task.done():
            task.result()
    return {task for task in tasks if not task.done()}


def _sayable(text: str) -> str:
    """The text without what the hub's JSON refuses, and no longer than anybody reads."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")[:LONGEST_MESSAGE]


def _plain(error: BaseException | None) -> str:
    if error is None:
        return "it stopped by itself"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
