"""One turn: what an agent is asked, what it says on the way, and what comes of it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from adapters.jsonrpc_peer import RpcError
from hub.client import Claim, Invalid, NotFound
from hub.worker.acp import blocks, wire
from hub.worker.acp.asking import Asking
from hub.worker.acp.connection import AgentGone
from hub.worker.acp.session import AgentSession, NotLoggedIn
from hub.worker.acp.updates import Updates
from hub.worker.acp.wire import Update
from hub.worker.reporter import Reporter, TaskFailed

CANCEL_SECONDS: Final = 2.0
"""So long an agent that is to stop may take to say so; then it is killed."""
SILENT_SECONDS: Final = 3 * 3600.0
"""So long an agent may say nothing while it works; only waiting for people has no end."""
LAST_WORDS_SECONDS: Final = 5.0
"""So long the hub may take to hear what it said until then."""
OUTCOMES: Final[Mapping[str, str]] = {
    "refusal": "refused",
    "max_tokens": "truncated",
    "max_turn_requests": "truncated",
}


@dataclass
class Turn:
    """A turn under its lease. It listens to the session while it runs."""

    claim: Claim
    reporter: Reporter
    session: AgentSession
    updates: Updates
    asking: Asking
    of_session: bool
    """Whether the hub has a session to report to."""
    silent_seconds: float = SILENT_SECONDS

    def __post_init__(self) -> None:
        self._text: list[str] = []
        self._characters = 0
        self._reported: dict[str, Any] | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._waiting = 0
        self._heard_at = asyncio.get_running_loop().time()

    # --- the session's listener ---

    async def hear(self, said: Update, size: int) -> None:
        """Pass an update on."""
        self._heard_at = asyncio.get_running_loop().time()
        text = wire.text_of(said)
        if text and self._characters < blocks.TEXT_CHARACTERS:
            self._text.append(text[: blocks.TEXT_CHARACTERS - self._characters])
            self._characters += len(text)
        await self.updates.add(said, size)
        idle = self._reporting is None or self._reporting.done()
        if self.of_session and idle and self._report() != self._reported:
            self._reporting = asyncio.create_task(self.report(), name="a report of a session")

    async def permission(self, params: Mapping[str, Any], call: Mapping[str, Any]) -> Any:
        """Answer a request for leave."""
        with self._asked():
            return await self.asking.permission(params, call)

    async def elicit(self, params: Mapping[str, Any]) -> Any:
        """Answer a request for input."""
        with self._asked():
            return await self.asking.elicit(params)

    # --- doing it ---

    async def do(self, prompt: Sequence[blocks.Block]) -> dict[str, Any]:
        """Let the agent do it; the task's output. Cancelled, it stops the agent and says what it still said.

        Raises:
            TaskFailed: the agent failed.
            Conflict: the lease is lost; the agent was stopped.
        """
        posting = asyncio.create_task(self.updates.run(), name="updates of a turn")
        try:
            self.session.listener = self
            await self.session.tell_kept()
            result = await self._answer(prompt, posting)
            await self._all_posted(posting)
            if self._reporting is not None:
                await asyncio.gather(self._reporting, return_exceptions=True)
            await self.report()
            return self._output(result)
        except RpcError as error:
            await self._say_last_words()
            raise TaskFailed(f"The agent failed: {error.message}", category="agent_error") from None
        except NotLoggedIn as error:
            raise TaskFailed(str(error), category="auth_required") from None
        except AgentGone as error:
            await self._say_last_words()
            # Where the agent can take its session up again, another attempt goes on from there.
            raise TaskFailed(
                f"The agent is gone: {error}", category="infrastructure", recoverable=self.session.can_resume
            ) from None
        except BaseException:
            await self._say_last_words()
            raise
        finally:
            self.session.listener = None
            for task in (posting, self._reporting):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    async def report(self) -> None:
        """Tell the hub how the session stands, where that is news.

        Raises:
            Conflict: the lease is lost.
        """
        report = self._report()
        if not self.of_session or report == self._reported:
            return
        with suppress(NotFound, Invalid):  # what an agent calls itself must not end its turn
            await self.reporter.session(**report)
        self._reported = report

    async def _answer(
        self, prompt: Sequence[blocks.Block], posting: "asyncio.Task[None]"
    ) -> Mapping[str, Any]:
        trace = self.claim.raw.get("traceparent")
        meta = {} if trace is None else {"traceparent": trace}
        prompting = asyncio.create_task(self.session.prompt(prompt, meta), name="a prompt")
        try:
            while not prompting.done():
                await asyncio.wait(
                    {prompting, posting}, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED
                )
                if posting.done():
                    posting.result()  # the lease is lost; it ends in no other way
                if self._patience() <= 0 and not prompting.done():
                    minutes = self.silent_seconds / 60
                    raise TaskFailed(f"The agent said nothing for {minutes:g} min.", category="timeout")
            return await prompting
        except BaseException:
            await self._stop(prompting)
            raise

    def _patience(self) -> float:
        """How long the agent may go on without a word; time in which it waits for somebody does not count."""
        if self._waiting:
            return self.silent_seconds
        return self._heard_at + self.silent_seconds - asyncio.get_running_loop().time()

    @contextmanager
    def _asked(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._heard_at = asyncio.get_running_loop().time()

    async def _stop(self, prompting: "asyncio.Task[Mapping[str, Any]]") -> None:
        """Make the agent stop: by its own protocol, or for good."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self.session.cancel()
                await asyncio.wait({prompting})
        except TimeoutError:
            self.session.kill()
        except asyncio.CancelledError:
            self.session.kill()
            raise
        finally:
            # An agent that was asked to stop is not asked to forget the request, too.
            if not prompting.done():
                self.session.kill()
            await asyncio.gather(prompting, return_exceptions=True)

    async def _all_posted(self, posting: "asyncio.Task[None]") -> None:
        flushing = asyncio.create_task(self.updates.flush())
        await asyncio.wait({flushing, posting}, return_when=asyncio.FIRST_COMPLETED)
        if posting.done():
            posting.result()

    async def _say_last_words(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.updates.flush()

    def _output(self, result: Mapping[str, Any]) -> dict[str, Any]:
        reason = result.get("stopReason")
        output: dict[str, Any] = {
            "text": "".join(self._text),
            "stopReason": reason if isinstance(reason, str) else "end_turn",
        }
        if self._characters > blocks.TEXT_CHARACTERS:
            output["truncated"] = True
        if output["stopReason"] in OUTCOMES:
            output["outcome"] = OUTCOMES[output["stopReason"]]
        if isinstance(result.get("usage"), Mapping):
            output["usage"] = dict(result["usage"])
        return output

    def _report(self) -> dict[str, Any]:
        session = self.session
        return {
            "agent_session_id": session.id,
            "can_resume": session.can_resume,
            "config_options": session.offers.told_options,
            "modes": session.offers.modes,
            "commands": session.offers.commands,
            "agent_info": session.agent_info,
        }
