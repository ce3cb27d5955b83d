"""Between an editor and the hub's connections, of which there may be many, one after the other.

What the editor asked stays here until it is answered. A new connection is brought to where the last one was:
it says who the editor is, takes up its sessions behind what was told, and asks again what was not answered.
Requests that would do something twice carry a key under which they happen once.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hub.launcher import messages
from hub.launcher.messages import BadLine, Key, key_of, meta_of, params_of, told_up_to, with_meta
from hub.launcher.questions import Question, Questions
from schemas.acp import MAX_MESSAGE_BYTES, PENDING, SEQ, SESSION, TOKEN, initialized

MOST_PENDING: Final = 128
"""Requests of the editor that wait for their answer: as many as the hub takes of one connection."""
MOST_TRIES: Final = 5
"""How often a request is asked again when it was the hub that broke over it."""
PATIENCE: Final = 3.0
"""How long the hub may take to answer `initialize`; then the launcher does."""
CANCEL: Final = "$/cancel_request"
_KEYED: Final = frozenset({"session/new", "session/fork", "session/prompt"})
_OPENS: Final = frozenset({"session/new", "session/fork", "session/load", "session/resume"})

Put = Callable[[bytes], Awaitable[None]]
Cursor = tuple[int, int]


class Gone(Exception):
    """The connection to the hub has ended."""


@dataclass(slots=True)
class Pending:
    """A request of the editor that waits for its answer."""

    id: Any
    method: str
    params: Any
    connection: int = 0
    """The connection on which it was asked last; 0 for none."""
    tries: int = 0
    cancelled: bool = False
    seen: Cursor | None = None
    """For `session/load`: up to where the past has been told."""

    @property
    def session_id(self) -> str | None:
        """The session that it is about."""
        named = self.params.get("sessionId") if type(self.params) is dict else None
        return named if type(named) is str else None


@dataclass(slots=True)
class Followed:
    """A session that the editor has open, and up to where it was told."""

    cwd: str
    directories: Sequence[Any]
    cursor: Cursor = (0, 0)


@dataclass
class Bridge:
    """One editor. `to_editor` writes one line; `version` is ours; `tags` are put to every new session."""

    to_editor: Put
    version: str
    tags: Sequence[str] = ()
    agent: str | None = None
    client_id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    refused: str | None = None
    """Why the hub does not let us in; None while it does, or may."""
    try_again: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the editor asks for another try with the credentials there are now."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the editor has said who it is."""

    def __post_init__(self) -> None:
        self._pending: dict[Key, Pending] = {}
        self._sessions: dict[str, Followed] = {}
        self._questions = Questions()
        self._own: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._initialize: dict[str, Any] | None = None
        self._late: asyncio.Task[None] | None = None
        self._send: Put | None = None
        self._connection = 0
        self._ready = False
        self._logged_out = False
        self._numbers = 0

    # What the editor says.

    async def hear_editor(self, line: bytes) -> None:
        """One line of the editor."""
        try:
            message = messages.read(line, first=self._initialize is None)
        except BadLine as bad:
            await self._tell(messages.error(bad.id, bad.code, bad.message))
            return
        if "method" not in message:
            question = self._questions.answered(message)
            if question is not None:
                await self._pass_answer(question)
        elif "id" not in message:
            await self._hear_notification(message)
        else:
            await self._hear_request(message)

    async def too_long(self, start: bytes) -> None:
        """A line that was longer than any message may be; it was not kept."""
        said = f"A message has at most {MAX_MESSAGE_BYTES} bytes"
        await self._tell(messages.error(messages.id_of_start(start), messages.INVALID_REQUEST, said))

    async def _hear_request(self, message: dict[str, Any]) -> None:
        id, method, params = message["id"], message["method"], message.get("params")
        if key_of(id) in self._pending:
            said = "A request with this id is being answered"
            await self._tell(messages.error(None, messages.INVALID_REQUEST, said))
        elif len(self._pending) >= MOST_PENDING:
            said = f"{MOST_PENDING} requests are being answered; wait for one"
            await self._tell(messages.error(id, messages.TOO_MANY, said))
        elif (method == "initialize") != (self._initialize is None):
            said = "Say initialize first" if self._initialize is None else "This connection is initialized"
            await self._tell(messages.error(id, messages.INVALID_REQUEST, said))
        elif self.refused is not None and method not in ("initialize", "authenticate"):
            await self._tell(messages.error(id, messages.AUTH_REQUIRED, self.refused))
        else:
            await self._take(Pending(id, method, self._prepared(method, params)))

    def _prepared(self, method: str, params: Any) -> Any:
        if params is None:
            params = {}
        if type(params) is not dict:
            return params  # the hub says what is wrong with it
        if method == "initialize":
            return with_meta(params, clientId=self.client_id)
        if method == "session/new":
            params = with_meta(params, tags=list(self.tags) or None, agent=self.agent)
        if method in _KEYED:
            self._numbers += 1
            params = with_meta(params, idempotencyKey=f"{self.client_id}.{self._numbers}")
        return params

    async def _take(self, pending: Pending) -> None:
        size = len(messages.dumped(messages.call(pending.id, pending.method, pending.params)))
        if size > MAX_MESSAGE_BYTES:
            said = f"A message has at most {MAX_MESSAGE_BYTES} bytes"
            await self._tell(messages.error(pending.id, messages.INVALID_REQUEST, said))
            return
        self._pending[key_of(pending.id)] = pending
        if pending.method == "initialize":
            self._initialize = pending.params if type(pending.params) is dict else {}
            self.begun.set()
            if self.refused is not None:
                await self._initialize_here()
                return
            self._late = asyncio.create_task(self._answer_late())
        elif pending.method == "authenticate" and self.refused is not None:
            if params_of({"params": pending.params}).get("methodId") == TOKEN:
                self.try_again.set()
            else:
                await self._fail(pending, messages.AUTH_REQUIRED, self.refused)
            return
        if self._ready:
            await self._ask(pending)

    async def _answer_late(self) -> None:
        """The hub does not answer: an editor that waits for nothing shows nothing."""
        await asyncio.sleep(PATIENCE)
        await self._initialize_here()

    async def _initialize_here(self) -> None:
        for pending in [p for p in self._pending.values() if p.method == "initialize"]:
            del self._pending[key_of(pending.id)]
            capabilities = params_of({"params": self._initialize}).get("clientCapabilities")
            auth = capabilities.get("auth") if type(capabilities) is dict else None
            can = type(auth) is dict and auth.get("terminal") not in (None, False)
            await self._tell(messages.result(pending.id, initialized(self.version, terminal_login=can)))

    async def _hear_notification(self, message: dict[str, Any]) -> None:
        params = params_of(message)
        if message["method"] == CANCEL:
            id = params.get("requestId")
            meant = self._pending.get(key_of(id)) if type(id) in (str, int) else None
            if meant is not None:
                meant.cancelled = True
        elif message["method"] == "session/cancel":
            for pending in self._pending.values():
                if pending.method == "session/prompt" and pending.session_id == params.get("sessionId"):
                    pending.cancelled = True
        if self._ready:
            await self._say(message)

    async def _pass_answer(self, question: Question) -> None:
        if question.hub_id is not None and self._send is not None and question.answer is not None:
            await self._say({**question.answer, "id": question.hub_id})

    # What the hub says.

    async def hear_hub(self, text: str) -> None:
        """One message of the hub."""
        message = json.loads(text)
        if "method" not in message:
            await self._hear_answer(message, text)
        elif "id" in message:
            question, new = self._questions.asked(message)
            if new:
                await self._tell({**message, "id": question.id})
            else:
                await self._pass_answer(question)
        elif message["method"] == CANCEL:
            question_gone = self._questions.withdrawn(params_of(message).get("requestId"))
            if question_gone is not None:
                await self._tell(messages.notification(CANCEL, {"requestId": question_gone.id}))
        else:
            self._note(params_of(message))
            await self.to_editor(_one_line(text))

    async def _hear_answer(self, message: dict[str, Any], text: str) -> None:
        id = message.get("id")
        own = self._own.pop(id, None) if type(id) is str else None
        if own is not None:
            if not own.done():
                own.set_result(message)
            return
        pending = self._pending.pop(key_of(id), None)
        if pending is None:
            if id is None:
                await self.to_editor(_one_line(text))
            return
        if pending.method == "initialize" and self._late is not None:
            self._late.cancel()
        if "result" in message:
            self._learn(pending, message["result"])
        await self.to_editor(_one_line(text))

    def _note(self, params: dict[str, Any]) -> None:
        """How far the editor has been told of a session."""
        cursor = _cursor(meta_of(params, SEQ))
        named = meta_of(params, SESSION) or params.get("sessionId")
        if cursor is None or type(named) is not str:
            return
        followed = self._sessions.get(named)
        if followed is not None:
            followed.cursor = max(followed.cursor, cursor)
        for pending in self._pending.values():
            if pending.method == "session/load" and pending.session_id == named:
                pending.seen = cursor if pending.seen is None else max(pending.seen, cursor)

    def _learn(self, pending: Pending, result: Any) -> None:
        method, params = pending.method, params_of({"params": pending.params})
        if method in _OPENS:
            named = result.get("sessionId") if type(result) is dict else None
            session_id = named if type(named) is str else pending.session_id
            if session_id is not None:
                followed = Followed(
                    params.get("cwd") or "/",
                    params.get("additionalDirectories") or (),
                    _cursor(meta_of(result, SEQ)) or (0, 0),
                )
                self._sessions[session_id] = followed
        elif method in ("session/close", "session/delete"):
            self._sessions.pop(pending.session_id or "", None)
        elif method in ("authenticate", "logout"):
            self._logged_out = method == "logout"

    # Connections.

    async def attach(self, send: Put) -> None:
        """A connection is open: bring it to where the last one was, and use it.

        `hear_hub` is to be called meanwhile with what comes.

        Raises:
            Gone: it ended, or does not take us.
        """
        self._connection += 1
        self._send = send
        self.refused = None
        waits = any(pending.method == "initialize" for pending in self._pending.values())
        if not waits and self._initialize is not None:
            await self._ask_own("initialize", self._initialize)
            if self._logged_out:
                await self._ask_own("logout", {})
            for session_id in list(self._sessions):
                await self._take_up(session_id)
        while unasked := [p for p in self._pending.values() if p.connection != self._connection]:
            await self._ask(unasked[0])
        self._ready = True

    async def _take_up(self, session_id: str) -> None:
        followed = self._sessions[session_id]
        params = {
            "sessionId": session_id,
            "cwd": followed.cwd,
            "additionalDirectories": list(followed.directories),
        }
        answer = await self._ask_own("session/resume", with_meta(params, afterSeq=_said(followed.cursor)))
        if "result" not in answer:  # deleted by somebody else: what is asked about it is answered so
            self._sessions.pop(session_id, None)
        pending = meta_of(answer.get("result"), PENDING)
        for question in self._questions.keep_only(session_id, pending if type(pending) is list else []):
            await self._tell(messages.notification(CANCEL, {"requestId": question.id}))

    async def detach(self, *, broke: bool) -> None:
        """The connection is gone. `broke`: the hub itself failed over something that it was asked."""
        self._send, self._ready = None, False
        own, self._own = self._own, {}
        for waiting in own.values():
            if not waiting.done():
                waiting.set_exception(Gone("the connection has ended"))
                waiting.exception()
        for question in self._questions.disconnected():
            await self._tell(messages.notification(CANCEL, {"requestId": question.id}))
        for pending in [p for p in self._pending.values() if broke and p.connection == self._connection]:
            pending.tries += 1
            if pending.tries >= MOST_TRIES:
                await self._fail(pending, messages.INTERNAL_ERROR, "The hub fails over this")

    async def refuse(self, why: str) -> None:
        """The hub does not let us in: whatever the editor waits for is answered so."""
        self.refused = why
        await self._initialize_here()
        for pending in list(self._pending.values()):
            await self._fail(pending, messages.AUTH_REQUIRED, why)

    # Words.

    async def _ask(self, pending: Pending) -> None:
        params = pending.params
        if pending.seen is not None:
            params = told_up_to(params, _said(pending.seen))
        pending.connection = self._connection
        await self._say(messages.call(pending.id, pending.method, params))
        if pending.cancelled:
            await self._say(messages.notification(CANCEL, {"requestId": pending.id}))

    async def _ask_own(self, method: str, params: Any) -> dict[str, Any]:
        self._numbers += 1
        id = f"{self.client_id}:{self._numbers}"
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._own[id] = answer
        await self._say(messages.call(id, method, params))
        return await answer

    async def _say(self, message: dict[str, Any]) -> None:
        if self._send is not None:
            try:
                await self._send(messages.dumped(message))
            except Gone:
                return  # it will be asked again

    async def _tell(self, message: dict[str, Any]) -> None:
        await self.to_editor(messages.dumped(message))

    async def _fail(self, pending: Pending, code: int, said: str) -> None:
        del self._pending[key_of(pending.id)]
        await self._tell(messages.error(pending.id, code, said))


def _one_line(text: str) -> bytes:
    return text.replace("\n", " ").encode() if "\n" in text else text.encode()


def _cursor(said: Any) -> Cursor | None:
    position, _, index = said.partition(".") if type(said) is str else ("", "", "")
    return (int(position), int(index)) if position.isdigit() and index.isdigit() else None


def _said(cursor: Cursor) -> str:
    return f"{cursor[0]}.{cursor[1]}"
