"""Any ACP agent as an executor: one process per session, kept between turns, each turn a `session/prompt`.

The agent runs beside its workspace, as the operator's user. What it may do through the worker is bounded;
what its own process may do is not: this is no sandbox.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from adapters.jsonrpc_peer import RpcError
from hub.client import Brief, Claim, NotFound
from hub.worker.acp import blocks
from hub.worker.acp.asking import Asking, Memory
from hub.worker.acp.connection import AgentGone
from hub.worker.acp.policy import Policy
from hub.worker.acp.profiles import GENERIC, Profile
from hub.worker.acp.session import AgentSession, NotLoggedIn, Place, Running, WrongVersion
from hub.worker.acp.turn import Turn
from hub.worker.acp.updates import Updates
from hub.worker.acp.wire import notice
from hub.worker.reporter import Reporter, TaskFailed

IDLE_SECONDS: Final = 600.0
"""So long the agent of a session waits for its next turn before it is let go."""
IDLE_AGENTS: Final = 8


@dataclass(frozen=True)
class AgentConfig:
    """How an agent is run, and what it may do without asking."""

    argv: Sequence[str]
    profile: Profile = GENERIC
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    workspaces: Sequence[str] = ()
    """Directories; sessions elsewhere are refused, and tasks of no session work in the first."""
    policy: Policy = field(default_factory=Policy)
    files: bool = False
    """Offer the agent the workspace's files through the worker."""
    terminals: bool = False
    client_servers: bool = False
    """Start the MCP servers that a session's client names, by commands of the client's."""
    idle_seconds: float = IDLE_SECONDS


class AcpAgent:
    """The executor. Its result is `{text, stopReason, usage?, outcome?}`."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._running = Running(
            config.argv,
            config.profile,
            {**config.profile.settings, **config.environ},
            _version(),
            files=config.files,
            terminals=config.terminals,
        )
        self._memory = Memory()
        self._idle: OrderedDict[str, tuple[AgentSession, asyncio.TimerHandle]] = OrderedDict()
        self._sessions: set[AgentSession] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def kill(self) -> None:
        """End every agent at once."""
        for session in self._sessions:
            session.kill()

    async def close(self) -> None:
        """End every agent, with a little time to end by itself."""
        for _, timer in self._idle.values():
            timer.cancel()
        self._idle.clear()
        await asyncio.gather(*(session.close() for session in self._sessions), return_exceptions=True)
        self._sessions.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def __call__(self, claim: Claim, reporter: Reporter) -> Any:
        """Do one turn, or another task as a session of a single turn.

        Raises:
            TaskFailed: the agent cannot be used, or failed.
        """
        try:
            brief: Brief | None = await reporter.brief()
        except NotFound:
            brief = None
        place = self._place(brief)
        session: AgentSession | None = None
        kept = False
        try:
            session, turn, prompt = await self._ready(claim, reporter, brief, place)
            output = await turn.do(prompt)
            kept = True
            return output
        except (asyncio.CancelledError, TaskFailed):
            # It answered when it was told to stop, or failed in its own words: it can go on.
            kept = session is not None and not reporter.lost
            raise
        finally:
            if session is not None:
                self._put_back(session, brief if kept else None)

    async def _ready(
        self, claim: Claim, reporter: Reporter, brief: Brief | None, place: Place
    ) -> tuple[AgentSession, Turn, Sequence[blocks.Block]]:
        """The session with what is to be said in it."""
        session = self._take(brief, place)
        knows = session is not None
        try:
            if session is None:
                session = await self._start(place)
                knows = await session.open(
                    None if brief is None else brief.agent_session_id,
                    None if brief is None else brief.forked_from,
                )
            return await self._briefed(session, claim, reporter, brief, knows)
        except (AgentGone, WrongVersion, OSError) as error:
            failure = TaskFailed(f"The agent cannot be used: {error}", category="agent_error")
        except NotLoggedIn as error:
            failure = TaskFailed(str(error), category="auth_required")
        except RpcError as error:
            failure = TaskFailed(
                f"The agent does not open a session: {error.message}", category="agent_error"
            )
        except BaseException:
            self._drop(session)
            raise
        self._drop(session)
        raise failure

    async def _briefed(
        self, session: AgentSession, claim: Claim, reporter: Reporter, brief: Brief | None, knows: bool
    ) -> tuple[AgentSession, Turn, Sequence[blocks.Block]]:
        again = claim.attempt > 1 and brief is not None
        if again and not knows:
            raise TaskFailed(
                "The turn was interrupted, and the agent cannot take it up; it was not done twice.",
                category="interrupted",
            )
        autonomy = "ask" if brief is None else brief.autonomy
        refused = await session.choose(autonomy, {} if brief is None else brief.config)
        updates = Updates(reporter.updates)
        asking = Asking(
            reporter,
            updates,
            self._config.policy,
            self._memory,
            session_id=claim.id if brief is None else brief.session_id,
            autonomy=_autonomy(reporter, brief),
            rejects_expired=self._config.profile.rejects_expired,
        )
        turn = Turn(claim, reporter, session, updates, asking, brief is not None)
        prompt, lost = blocks.taken(
            blocks.prompt_of(claim), _object(session.capabilities.get("promptCapabilities"))
        )
        await turn.report()
        for title, said in (
            ("MCP servers that the agent cannot reach", session.left_out),
            ("MCP servers that the worker does not start", self._not_started(brief)),
            ("Choices that the agent does not take", refused),
            ("Parts of the prompt that the agent cannot read", lost),
        ):
            if said:
                await updates.add(notice(title, ", ".join(said)[:2000]))
        if brief is not None and brief.turn > 0 and not knows:
            await updates.add(
                notice("The agent does not remember the turns before", "It could not take its session up.")
            )
        if again:
            prompt = [{"type": "text", "text": blocks.AGAIN}, *prompt]
        return session, turn, prompt

    def _place(self, brief: Brief | None) -> Place:
        """Where to work.

        Raises:
            TaskFailed: not here.
        """
        workspaces = [os.path.realpath(path) for path in self._config.workspaces] or [os.getcwd()]
        if brief is None or not brief.cwd:
            return Place(workspaces[0])
        directories = (brief.cwd, *brief.additional_directories)
        for directory in directories:
            real = Path(os.path.realpath(directory))
            if not any(real.is_relative_to(workspace) for workspace in workspaces):
                raise TaskFailed(
                    f"This worker works in {', '.join(workspaces)}; the session is about {directory}.",
                    category="workspace",
                )
            if not real.is_dir():
                raise TaskFailed(f"There is no directory {directory} here.", category="workspace")
        servers = brief.mcp_servers if self._config.client_servers else _remote(brief.mcp_servers)
        return Place(brief.cwd, brief.additional_directories, servers)

    def _not_started(self, brief: Brief | None) -> list[str]:
        if brief is None or self._config.client_servers:
            return []
        remote = _remote(brief.mcp_servers)
        return [str(server.get("name")) for server in brief.mcp_servers if server not in remote]

    # --- sessions that wait ---

    async def _start(self, place: Place) -> AgentSession:
        session = await AgentSession.start(self._running, place)
        self._sessions.add(session)
        return session

    def _take(self, brief: Brief | None, place: Place) -> AgentSession | None:
        if brief is None or brief.session_id not in self._idle:
            return None
        session, timer = self._idle.pop(brief.session_id)
        timer.cancel()
        if session.gone or session.place != place or session.id != brief.agent_session_id:
            self._drop(session)
            return None
        return session

    def _put_back(self, session: AgentSession, brief: Brief | None) -> None:
        """Keep the session for its next turn, if it has one."""
        if brief is None or session.gone:
            self._drop(session)
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._config.idle_seconds, self._let_go, brief.session_id)
        self._idle[brief.session_id] = session, timer
        while len(self._idle) > IDLE_AGENTS:
            self._let_go(next(iter(self._idle)))

    def _let_go(self, session_id: str) -> None:
        session, timer = self._idle.pop(session_id)
        timer.cancel()
        self._drop(session)

    def _drop(self, session: AgentSession | None) -> None:
        if session is None or session not in self._sessions:
            return
        self._sessions.discard(session)
        closing = asyncio.create_task(session.close(), name="the end of an agent")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _autonomy(reporter: Reporter, brief: Brief | None) -> Callable[[], Awaitable[str]]:
    async def of_session() -> str:
        return (await reporter.brief()).autonomy

    async def of_task() -> str:
        return "ask"

    return of_task if brief is None else of_session


def _remote(servers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [server for server in servers if server.get("type") in ("http", "sse")]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _version() -> str:
    try:
        return version("crossdock")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "0"
