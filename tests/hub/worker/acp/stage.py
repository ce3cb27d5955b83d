"""An agent at work without a hub: what it says and asks is kept, and answered by the test."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from hub.client import Approval, Brief, Claim, Conflict, Message, NotFound
from hub.worker.acp import AcpAgent, AgentConfig, Profile
from hub.worker.reporter import Reporter

AGENT = str(Path(__file__).with_name("scripted_agent.py"))
PATIENCE = 20.0


class Told(Reporter):
    """A reporter of which one task knows; what it is told is kept."""

    def __init__(self, claim: Claim, brief: Brief | None) -> None:
        self.claim = claim
        self.lost = False
        self.posts: list[list[Mapping[str, Any]]] = []
        self.reports: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.questions: list[Sequence[Mapping[str, Any]]] = []
        self.decide: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None
        """What is answered to a request for leave; without one it waits for ever."""
        self.answer: Sequence[Mapping[str, Any]] | None = None
        self.refuse_posts: Exception | None = None
        self.brief_now = brief
        self.brief_later: Brief | None = None
        """What is answered from the second time on."""
        self._changed = asyncio.Condition()

    @property
    def updates_told(self) -> list[Mapping[str, Any]]:
        """Every update, in order."""
        return [update for post in self.posts for update in post]

    @property
    def kinds(self) -> list[str]:
        """Their kinds."""
        return [said["update"]["sessionUpdate"] for said in self.updates_told]

    @property
    def text(self) -> str:
        """What the agent said."""
        return "".join(
            said["update"]["content"]["text"]
            for said in self.updates_told
            if said["update"]["sessionUpdate"] == "agent_message_chunk"
        )

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until what was told makes the condition true."""
        async with asyncio.timeout(PATIENCE), self._changed:
            return await self._changed.wait_for(condition)

    async def take_away(self) -> None:
        """The lease is lost."""
        self.lost = True
        self.refuse_posts = Conflict("the lease is gone", details={"reason_code": "lease_expired"})

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def brief(self) -> Brief:
        now = self.brief_now
        if now is None:
            raise NotFound("no turn")
        self.brief_now = self.brief_later or now
        return now

    async def session(self, **said: Any) -> None:
        self.reports.append(said)
        await self._tell()

    async def updates(self, updates: Sequence[Mapping[str, Any]], *, key: str) -> None:
        if self.refuse_posts is not None:
            raise self.refuse_posts
        self.posts.append(list(updates))
        await self._tell()

    async def permission(self, title: str, *, subject: Any, options: Sequence[Mapping[str, Any]]) -> Approval:
        asked = {"title": title, "subject": subject, "options": list(options)}
        self.asked.append(asked)
        await self._tell()
        return Approval.of({"id": uuid4().hex, "kind": "permission", "status": "pending", **asked})

    async def decision(self, asked: Approval) -> Approval:
        if self.decide is None:
            await asyncio.Event().wait()
        assert self.decide is not None
        return Approval.of({**asked.raw, **self.decide(dict(asked.raw))})

    async def question(self, parts: Sequence[Mapping[str, Any]], *, kind: str = "input") -> Message:
        self.questions.append(parts)
        await self._tell()
        if self.answer is None:
            await asyncio.Event().wait()
        return Message.of({"message_id": "m", "role": "user", "parts": self.answer})


class Stage:
    """One agent and its sessions."""

    def __init__(self, directory: Path, *can: str, **config: Any) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.state.mkdir(exist_ok=True)
        self.work = directory / "work"
        self.work.mkdir(exist_ok=True)
        self.environ = {"PATH": os.environ["PATH"], "AGENT_STATE": str(self.state)}
        known: dict[str, Any] = {
            "profile": Profile("scripted", auth=("key",)),
            "environ": self.environ,
            "workspaces": [str(self.work)],
        }
        self.config = AgentConfig([sys.executable, "-I", "-S", AGENT, *can], **(known | config))
        self.agent = AcpAgent(self.config)
        self._known: dict[str, str] = {}

    def anew(self) -> None:
        """Another worker with the same agent."""
        self.agent.kill()
        self.agent = AcpAgent(self.config)

    def turn(self, text: str, session: str | None = "s1", attempt: int = 1, **brief: Any) -> Told:
        """A turn of a session, or with None another task."""
        claim = Claim.of(
            {
                "id": uuid4().hex,
                "title": text,
                "input": {"text": text, "prompt": [{"type": "text", "text": text}]},
                "lease_id": uuid4().hex,
                "attempt": attempt,
            }
        )
        told = None
        if session is not None:
            said = {
                "session_id": session,
                "cwd": str(self.work),
                "agent_session_id": self._known.get(session),
            }
            told = Brief.of({**said, **brief})
        return Told(claim, told)

    async def do(self, text: str | Told, **more: Any) -> tuple[Any, Told]:
        """Do a turn to its end."""
        told = self.turn(text, **more) if isinstance(text, str) else text
        async with asyncio.timeout(PATIENCE):
            output = await self.agent(told.claim, told)
        if told.brief_now is not None and told.reports:
            self._known[told.brief_now.session_id] = told.reports[-1]["agent_session_id"]
        return output, told
