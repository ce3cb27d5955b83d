"""Questions on their way to one client: asked once, answered by whoever is first, withdrawn from the others.

A question lives in the database. What is kept here is only that this client has it on its screen.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from uuid import UUID

from adapters.acp.capabilities import ClientCapabilities
from adapters.acp.questions import Permission, Question, chosen_option, was_cancelled
from adapters.jsonrpc_peer import Closed, Outstanding, Peer, RpcError
from core.approvals import DecideApproval, decide
from core.caller import Caller
from core.errors import HubError
from core.platform import Platform
from core.sessions.session import Session
from core.sessions.turns import OneTurn, StopTurns, look, stop_turns
from core.tasks.input import AnswerInput, answer_input

_log = logging.getLogger(__name__)


class Asking:
    """The questions of one session to one client.

    `unanswered` is told the task of a question that this client will not answer by itself.
    """

    def __init__(
        self,
        platform: Platform,
        caller: Caller,
        peer: Peer,
        session: Session,
        client: ClientCapabilities,
        unanswered: Callable[[UUID], Awaitable[None]],
    ) -> None:
        self._platform = platform
        self._caller = caller
        self._peer = peer
        self._session = session
        self._client = client
        self._unanswered = unanswered
        self._open: dict[UUID, tuple[UUID, Outstanding]] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    def shows(self, question: Question) -> bool:
        """Whether this client can be asked this."""
        return question.params("", self._client) is not None

    async def permission(self, permission: Permission) -> None:
        """Ask for leave, unless this client has been asked.

        Raises:
            Closed: the connection has ended.
        """
        params = permission.params(self._session.session_id)
        await self._ask(
            permission.id, permission.task_id, "session/request_permission", params, self._decide(permission)
        )

    async def question(self, question: Question) -> bool:
        """Ask for input; tell whether this client can be asked it.

        Raises:
            Closed: the connection has ended.
        """
        params = question.params(self._session.session_id, self._client)
        if params is None:
            return False
        await self._ask(question.id, question.task_id, "elicitation/create", params, self._answer(question))
        return True

    async def settled(self, question_id: UUID) -> None:
        """Somebody else has answered: take it from the screen."""
        found = self._open.pop(question_id, None)
        if found is not None:
            await found[1].withdraw()

    async def gone(self, task_id: UUID) -> None:
        """The turn goes on without any answer, or is over: nothing of it is asked any more."""
        for question_id in [id for id, (of, _) in self._open.items() if of == task_id]:
            await self.settled(question_id)

    async def keep_only(self, question_ids: set[UUID]) -> None:
        """Whatever else is on the screen was settled while nobody looked."""
        for question_id in [id for id in self._open if id not in question_ids]:
            await self.settled(question_id)

    def close(self) -> None:
        """The client is gone. Its questions stay open for others, and for when it comes back."""
        for task in self._waiting:
            task.cancel()
        self._open.clear()

    async def _ask(
        self,
        id: UUID,
        task_id: UUID,
        method: str,
        params: dict[str, Any],
        on_answer: Callable[[Any], Coroutine[Any, Any, None]],
    ) -> None:
        if id in self._open:
            return
        outstanding = await self._peer.ask(method, params, self._session.session_id)
        self._open[id] = task_id, outstanding
        waiting = asyncio.create_task(self._wait(id, outstanding, on_answer), name="a question")
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _wait(
        self, id: UUID, outstanding: Outstanding, on_answer: Callable[[Any], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            result = await outstanding.answer
        except RpcError as error:
            _log.info("a client does not answer a question: %s", error.code)
            result = None
        except (Closed, asyncio.CancelledError):
            return
        # It stays known as asked: a client that has answered is not asked the same again.
        with contextlib.suppress(Closed):
            await on_answer(result)

    def _decide(self, permission: Permission) -> Callable[[Any], Coroutine[Any, Any, None]]:
        async def decided(answer: Any) -> None:
            option = chosen_option(answer)
            try:
                if option is not None:
                    command = DecideApproval(permission.id, option_id=option)
                    await self._platform.write(self._caller, decide, command)
                elif was_cancelled(answer):
                    await self._stop(permission.task_id)
            except HubError as error:  # decided meanwhile, or no such option: it stays as it is
                _log.info("a client's decision was not taken: %s", error.message)

        return decided

    async def _stop(self, task_id: UUID) -> None:
        """The protocol says "cancelled" only of a turn that is; so whoever says it first means the turn."""
        turn = await self._platform.read(self._caller, look, OneTurn(task_id))
        if turn.task.cancel_requested_at is None and turn.task.finished_at is None:
            stop = StopTurns(self._session.session_id, task_id)
            await self._platform.write(self._caller, stop_turns, stop)

    def _answer(self, question: Question) -> Callable[[Any], Coroutine[Any, Any, None]]:
        async def answered(result: Any) -> None:
            answer = question.answer(result)
            if answer is None:
                await self._unanswered(question.task_id)
                return
            command = AnswerInput(question.task_id, input_id=question.id, **answer)
            try:
                await self._platform.write(self._caller, answer_input, command)
            except HubError as error:
                _log.info("a client's answer was not taken: %s", error.message)
                await self._unanswered(question.task_id)

        return answered
