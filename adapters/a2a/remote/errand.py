"""Sees one task through at a remote agent: from the claim to its end there, or to a question.

It owns nothing that a restart would miss. The lease keeps others away, the delegation says what was sent and
where it runs, and each thing that is told becomes part of the task in one transaction with that.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from adapters.a2a import wire
from adapters.a2a.remote import compose
from adapters.a2a.remote.answers import Frame, RemoteMessage, RemoteStatus, RemoteTask
from adapters.a2a.remote.failures import BadAnswer, NotSent, Refused, RemoteError, Unauthorized, Unreached
from adapters.a2a.remote.pace import Pace
from adapters.a2a.remote.parting import part
from adapters.a2a.remote.peer import Peer, logger
from adapters.a2a.remote.reading import Reading
from adapters.a2a.remote.sending import UNSUPPORTED, Frames, OutcomeUnknown, Sender, TooManyHops
from adapters.a2a.sse import stop
from core.delegation_results import Ask, Ending, Finish, Relay, ask, finish, relay
from core.errors import HubError, Invalid, Unavailable
from core.relaying import Item, Said
from core.tasks.claim import GiveBack
from core.tasks.lease import RenewLease, renew_waiting
from core.tasks.task import Claimed
from core.trace import of_extras
from schemas.vocabulary import DelegationState, InputKind, TaskState

CANCELLED: Final = "task_already_cancelled"


class Lost(Exception):
    """The remote agent no longer knows the task."""


class Errand:
    """One held task of one remote agent."""

    def __init__(self, peer: Peer, claimed: Claimed, pace: Pace) -> None:
        self.held = GiveBack(claimed.task.id, claimed.lease_id)
        self.trace = of_extras(claimed.task.extras)
        self.ended = False
        """Whether the lease is spent, or somebody else's: there is nothing to give back."""
        self._peer = peer
        self._platform = peer.platform
        self._pace = pace
        self._sender = Sender(peer, claimed.task, claimed.lease_id, claimed.messages, pace)
        self._reading = Reading()
        self._awaiting = False
        """Whether the next frame is the first since something was sent: it says that it has arrived."""
        self._hearing = False
        self._answered_at: float | None = None
        self._cancelling = False
        self._further: asyncio.Task[None] | None = None

    @property
    def quiet(self) -> asyncio.Event:
        """Set while it may be interrupted without leaving an outcome unknown."""
        return self._sender.quiet

    async def run(self) -> None:
        """See it through. It ends early, and quietly, when the lease is lost or the hub stops."""
        work = asyncio.ensure_future(self._work())
        keeping = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait({work, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                # The lease has ended. In the middle of a send, its outcome decides what is to be cancelled.
                await self._until_quiet(work)
                await stop(work)
                keeping.result()
            work.result()
            self.ended = True
        except Unavailable as error:
            logger.warning("task %s is left for later: %s", self.held.task_id, error.message)
        except HubError as error:
            self.ended = True
            await self._released(error)
        except Exception:
            logger.exception("task %s met a fault of the hub", self.held.task_id)
            await self._faulted()
        finally:
            await stop(*(task for task in (work, keeping, self._further) if task is not None))
            self.quiet.set()

    async def _until_quiet(self, work: "asyncio.Future[None]") -> None:
        quiet = asyncio.ensure_future(self.quiet.wait())
        both: set[asyncio.Future[Any]] = {work, quiet}
        await asyncio.wait(both, timeout=self._pace.grace, return_when=asyncio.FIRST_COMPLETED)
        await stop(quiet)

    async def _faulted(self) -> None:
        """A fault of ours must not come back for ever."""
        if not self._sender.begun:
            return
        message = "The hub met a fault of its own; it has been logged."
        try:
            await self._end(Ending.FAIL, None, category="fault", message=message)
            self.ended = True
        except HubError as error:
            logger.warning("task %s could not be failed: %s", self.held.task_id, error.message)

    async def _released(self, error: HubError) -> None:
        """The task is not held any more. A cancelled one is cancelled over there, too."""
        logger.info("task %s is not held any more: %s", self.held.task_id, error.message)
        if error.details.get("reason_code") == CANCELLED and self._sender.begun:
            try:
                await part(self._peer, self._sender.delegation, "cancelled")
            except HubError as failed:  # whoever keeps house comes to it
                logger.warning("a remote task is not cancelled yet: %s", failed.message)

    async def _keep(self) -> None:
        """Keep the lease; hear of cancellation, and of what is said meanwhile."""
        task_id, lease_id = self.held.task_id, self.held.lease_id
        command = RenewLease(task_id, lease_id, self._pace.lease, known_state=TaskState.IN_PROGRESS)
        version = 0
        while True:
            try:
                state = await renew_waiting(self._platform, self._peer.caller, command, self._pace.renew)
            except Unavailable:
                await asyncio.sleep(self._pace.first_pause)
                continue
            if state.cancel_requested:
                if not self._cancelling:
                    self._cancelling = True
                    await self._pass_cancel_on()
                await asyncio.sleep(self._pace.renew)
            idle = self._further is None or self._further.done()
            if self._hearing and idle and state.version != version:
                version = state.version
                self._further = asyncio.ensure_future(self._sender.further())
                self._further.add_done_callback(_log_failure)

    async def _pass_cancel_on(self) -> None:
        """Ask the remote agent to stop. What it does then is heard as everything else."""
        remote_task_id = self._sender.delegation.remote_task_id if self._sender.begun else None
        if remote_task_id is not None:
            try:
                await self._peer.client.cancel(remote_task_id, "cancelled")
            except RemoteError as error:
                logger.info("remote task %s was not cancelled: %s", remote_task_id, error)

    async def _work(self) -> None:
        try:
            await self._sender.begin()
            self._reading.asked = self._sender.delegation.asked
            await self._follow()
        except TooManyHops as error:
            await self._end(Ending.REFUSE, message=str(error))
        except OutcomeUnknown as error:
            await self._end(
                Ending.FAIL, DelegationState.LOST, category="delegation_unknown", message=str(error)
            )
        except Lost as error:
            await self._end(Ending.FAIL, DelegationState.LOST, category="remote_lost", message=str(error))
        except Refused as error:
            leaves = None if self._sender.delegation.remote_task_id else DelegationState.DONE
            message = f"The remote agent refused: {error}"
            await self._end(Ending.FAIL, leaves, category="remote_refused", message=message)
        except BadAnswer as error:
            await self._peer.ill(error)
            leaves = None if self._sender.delegation.remote_task_id else DelegationState.LOST
            message = f"The remote agent answered wrongly: {error}"
            await self._end(Ending.FAIL, leaves, category="bad_answer", message=message)
        except RemoteError as error:
            await self._peer.ill(error)
            await self._end(
                Ending.FAIL, None, category="infrastructure", message=_sentence(error), recoverable=True
            )

    async def _follow(self) -> None:
        """Send what is to be sent, and hear the remote task out, whatever happens to the connection."""
        trouble: float | None = None
        pause, now = self._pace.first_pause, self._platform.monotonic
        frames: Frames | None = None
        opened = False
        while True:
            began = now()
            try:
                if not opened:
                    frames = await self._sender.open()
                    opened, self._awaiting = True, frames is not None
                told, frames = frames or self._open(), None
                async with aclosing(told):
                    async for batch in told:
                        trouble = None
                        await self._peer.well()
                        if await self._take(batch):
                            return
                if not self._attached:
                    raise BadAnswer("the stream ended before it told of a task")
                if await self._take([await self._peer.client.get_task(self._remote_task_id)]):
                    return
                if now() - began > self._pace.longest_pause:
                    pause = self._pace.first_pause
            except RemoteError as error:
                if isinstance(error, NotSent | Unreached | Unauthorized):
                    await self._peer.ill(error)
                    trouble = began if trouble is None else trouble
                    if now() - trouble > self._pace.patience:
                        raise
                if self._awaiting or not opened:
                    frames, opened = await self._after_failure(error)
                elif isinstance(error, Refused) and error.reason == "TASK_NOT_FOUND":
                    raise Lost(
                        f"The remote agent no longer knows its task {self._remote_task_id}; it may have done "
                        "some of the work. Retry the task to send it again."
                    ) from error
                elif not isinstance(error, NotSent | Unreached | Unauthorized):
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._pace.longest_pause)

    async def _after_failure(self, error: RemoteError) -> tuple[Frames | None, bool]:
        """What to read next after a send failed, and whether everything is sent; raises to give it up."""
        try:
            frames = await self._sender.failed(error)
        except (NotSent, Unreached, Unauthorized):
            if not self._attached and not self._sender.unsettled:
                raise
            return None, False
        self._awaiting = frames is not None
        return frames, True

    @property
    def _attached(self) -> bool:
        return self._sender.delegation.remote_task_id is not None

    @property
    def _remote_task_id(self) -> str:
        return str(self._sender.delegation.remote_task_id)

    async def _open(self) -> Frames:
        """The remote task as it stands, and what happens to it, streamed or looked at now and then."""
        client, task_id = self._peer.client, self._remote_task_id
        if self._sender.streams:
            try:
                async with aclosing(client.subscribe(task_id)) as frames:
                    async for batch in frames:
                        yield batch
                return
            except Refused as refused:
                if refused.reason not in UNSUPPORTED:
                    raise
                # It is final, or it cannot be subscribed to.
                task = await client.get_task(task_id)
                yield [task]
                self._sender.streams = False
        pause, last = self._pace.first_poll, None
        while True:
            task = await client.get_task(task_id)
            pause = min(pause * 1.5, self._pace.longest_poll) if task == last else self._pace.first_poll
            if task != last or task.status.interrupted:
                yield [task]
            last = task
            await asyncio.sleep(pause)

    async def _take(self, batch: Sequence[Frame]) -> bool:
        """Take over what was told; whether that ends the errand."""
        items: list[Item] = []
        for frame in batch:
            if isinstance(frame, RemoteMessage) and not self._attached and frame.task_id is None:
                await self._answered(frame, items)
                return True
            await self._arrive(frame)
            more, status = self._reading.take(frame)
            items += more
            if status is not None and status.terminal:
                await self._finish(status, items)
                return True
            if status is not None and status.interrupted and self._is_new(status):
                await self._ask(status, items)
                return True
        if items:
            await self._platform.write(self._peer.caller, relay, Relay(*self._held, items))
        return False

    async def _arrive(self, frame: Frame) -> None:
        task_id = frame.id if isinstance(frame, RemoteTask) else frame.task_id
        if task_id is None and self._attached:
            task_id = self._remote_task_id
        if task_id is None:
            raise BadAnswer("the stream tells of a task without its id")
        if self._awaiting or not self._attached:
            await self._sender.arrived(task_id, frame.context_id)
            self._awaiting = False
        self._hearing = True

    async def _answered(self, message: RemoteMessage, items: list[Item]) -> None:
        """The remote agent answers with a message, and makes no task."""
        said = Said(message.id, message.parts, message.metadata, final=True)
        output = compose.output_of((), message.parts)
        await self._end(Ending.COMPLETE, output=output, items=[*items, said])

    async def _finish(self, status: RemoteStatus, items: list[Item]) -> None:
        """Our task ends as the remote one did."""
        said = status.message.text if status.message is not None else ""
        match status.state:
            case wire.COMPLETED:
                await self._end(Ending.COMPLETE, output=self._reading.output(status), items=items)
            case wire.REJECTED:
                message = said or "The remote agent rejected the task."
                await self._end(Ending.REFUSE, message=message, items=items)
            case wire.CANCELED:
                message = said or "The remote agent cancelled the task."
                await self._end(Ending.CANCEL, message=message, items=items)
            case _:
                category = status.message.category if status.message is not None else None
                await self._end(
                    Ending.FAIL,
                    category=category or "remote_agent",
                    message=said or "The remote agent failed, and did not say why.",
                    items=items,
                )

    async def _ask(self, status: RemoteStatus, items: list[Item]) -> None:
        """Pass a question on: our task waits for the answer, and nobody holds it."""
        message = status.message
        parts = list(message.parts) if message is not None and message.parts else []
        if self._sender.refusal is not None:
            parts = [{"text": f"The answer was not accepted: {self._sender.refusal}"}, *parts]
        auth = status.state == wire.AUTH_REQUIRED
        wanted = "a credential" if auth else "an answer"
        command = Ask(
            *self._held,
            status.identity,
            parts or [{"text": f"The remote agent waits for {wanted}, and does not say for which."}],
            InputKind.AUTH if auth else InputKind.INPUT,
            self._pace.ask_again,
            None if message is None else message.schema,
            items,
        )
        try:
            await self._platform.write(self._peer.caller, ask, command)
        except Invalid:  # a schema that this hub cannot check answers by; the remote agent will
            plain = Ask(*self._held, command.question, command.parts, command.kind, command.look_again)
            await self._platform.write(self._peer.caller, ask, plain)

    def _is_new(self, status: RemoteStatus) -> bool:
        """Whether a question is to be passed on: not one that was just answered and is told once more."""
        known = self._sender.delegation
        if status.identity not in known.asked or known.state is DelegationState.ASKED:
            return True
        if self._sender.refusal is not None:
            return True
        now = self._platform.monotonic()
        self._answered_at = now if self._answered_at is None else self._answered_at
        return now - self._answered_at >= self._pace.stale

    @property
    def _held(self) -> tuple[Any, Any, Any]:
        return self.held.task_id, self.held.lease_id, self._sender.delegation.id

    async def _end(
        self, how: Ending, leaves: DelegationState | None = DelegationState.DONE, **more: Any
    ) -> None:
        await self._platform.write(self._peer.caller, finish, Finish(*self._held, how, leaves, **more))


def _sentence(error: RemoteError) -> str:
    words = str(error)
    return words[:1].upper() + words[1:] + "."


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.info("what was said meanwhile did not reach the remote agent yet: %s", task.exception())
