"""Between an editor that knows one lasting agent and hubs that come and go: what is said again, and what not.

It opens no socket and reads no clock. An editor's request is kept until it is answered, and said again to the
next connection; one that makes something carries a key, so that saying it twice makes it once. A session goes
on behind the last update that the editor has. A question that is on the editor's screen stays there when the
hub asks it again, and leaves it when somebody else has answered.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

META: Final = "_meta"
KEY: Final = "crossdock/idempotencyKey"
CLIENT: Final = "crossdock/clientId"
TAGS: Final = "crossdock/tags"
SEQ: Final = "crossdock/seq"
AFTER: Final = "crossdock/afterSeq"
PENDING: Final = "crossdock/pending"
QUESTION: Final = ("crossdock/approvalId", "crossdock/inputId")

AUTH_REQUIRED: Final = -32000
INVALID_REQUEST: Final = -32600
CANCEL: Final = "$/cancel_request"
START: Final = "0.0"
"""The cursor before everything."""
OURS: Final = "crossdock-"
"""How ids begin under which the bridge asks for itself."""

_MAKING: Final = frozenset({"session/new", "session/fork", "session/prompt"})
_OPENING: Final = frozenset({"session/new", "session/fork", "session/load", "session/resume"})
_ENDING: Final = frozenset({"session/close", "session/delete"})

Message = dict[str, Any]


@dataclass
class Followed:
    """A session that the editor has open, by the parameters that it was opened with."""

    params: Mapping[str, Any]


@dataclass
class Question:
    """A question on the editor's screen. `asked_as` is the hub's id for it now; `answer` waits for one."""

    session_id: str | None
    name: str | None
    asked_as: Any = None
    is_asked: bool = True
    answer: Message | None = None


@dataclass
class Bridge:
    """One editor. `tell` gets whole messages for it; what the methods return or yield is for the hub."""

    tell: Callable[[str], None]
    tags: Sequence[str] = ()
    """What the executor of its new sessions must offer."""
    hello: Message | None = None
    linked: bool = False
    _greeted: bool = False
    _logged_out: bool = False
    _client: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    _unanswered: dict[str, Message] = field(default_factory=dict)
    _sessions: dict[str, Followed] = field(default_factory=dict)
    _cursors: dict[str, str] = field(default_factory=dict)
    _held: list[str] = field(default_factory=list)
    _questions: dict[str, Question] = field(default_factory=dict)
    _asked: int = 0
    _resuming: dict[str, str] = field(default_factory=dict)

    # -- from the editor

    def from_editor(self, line: str) -> list[str]:
        """Take a message of the editor; what goes to the hub now."""
        message = _object(line)
        if message is None:
            return self._pass(line)  # the hub says what is wrong with it
        if "method" not in message:
            return self._answered(message, line)
        if "id" not in message:
            return self._pass(line)
        if message["method"] == "initialize" and self.hello is None:
            self.hello = _marked(message, **{CLIENT: self._client})
            return []
        text = self._prepared(message, line)
        return [text] if self.linked else []

    def _prepared(self, message: Message, line: str) -> str:
        marks: dict[str, Any] = {}
        if message["method"] in _MAKING:
            marks[KEY] = secrets.token_urlsafe(18)
        if message["method"] == "session/new" and self.tags:
            marks[TAGS] = list(self.tags)
        if marks:
            message = _marked(message, **marks)
            line = _text(message)
        self._unanswered[_key(message["id"])] = message
        return line

    def _pass(self, line: str) -> list[str]:
        if self.linked:
            return [line]
        self._held.append(line)
        return []

    def _answered(self, message: Message, line: str) -> list[str]:
        question = self._questions.get(str(message.get("id")))
        if question is None:
            return self._pass(line)
        if not (self.linked and question.is_asked):
            question.answer = message
            return []
        del self._questions[str(message["id"])]
        return [_text({**message, "id": question.asked_as})]

    # -- from the hub

    def from_hub(self, text: str) -> list[str]:
        """Take a message of the hub; what goes back to it now."""
        message = _object(text)
        if message is None:
            return []
        if "method" not in message:
            return self._result(message, text)
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if "id" in message:
            return self._question(message, params)
        if message["method"] == CANCEL:
            self._withdraw(params.get("requestId"))
            return []
        if message["method"] == "session/update":
            seq = _meta(params).get(SEQ)
            if isinstance(seq, str) and isinstance(params.get("sessionId"), str):
                self._cursors[params["sessionId"]] = seq
        self.tell(text)
        return []

    def _result(self, message: Message, text: str) -> list[str]:
        name = message.get("id")
        if isinstance(name, str) and name.startswith(OURS):
            return list(self._own(name, message))
        asked = self._unanswered.pop(_key(name), None)
        if asked is not None and "result" in message:
            self._learn(asked, message["result"])
        self.tell(text)
        return []

    def _learn(self, asked: Message, result: Any) -> None:
        method, params = asked["method"], asked.get("params") or {}
        if method in _OPENING:
            named = result.get("sessionId") if isinstance(result, dict) else None
            session = params.get("sessionId") if method in ("session/load", "session/resume") else named
            if isinstance(session, str):
                self._sessions[session] = Followed(params)
                if method in ("session/new", "session/load"):  # all of it is to be told
                    self._cursors.setdefault(session, START)
        elif method in _ENDING:
            self._sessions.pop(str(params.get("sessionId")), None)
        elif method in ("logout", "authenticate"):
            self._logged_out = method == "logout"

    def _question(self, message: Message, params: Message) -> list[str]:
        name = next((v for k in QUESTION if isinstance(v := _meta(params).get(k), str)), None)
        for shown, question in self._questions.items():
            if name is not None and question.name == name:
                question.asked_as, question.is_asked = message["id"], True
                if question.answer is None:
                    return []
                del self._questions[shown]
                return [_text({**question.answer, "id": message["id"]})]
        self._asked += 1
        shown = f"hub-{self._asked}"
        session = params.get("sessionId")
        self._questions[shown] = Question(session if isinstance(session, str) else None, name, message["id"])
        self.tell(_text({**message, "id": shown}))
        return []

    def _withdraw(self, asked_as: Any) -> None:
        for shown, question in list(self._questions.items()):
            if question.is_asked and question.asked_as == asked_as:
                self._take_back(shown)

    def _take_back(self, shown: str) -> None:
        del self._questions[shown]
        self.tell(_text({"jsonrpc": "2.0", "method": CANCEL, "params": {"requestId": shown}}))

    # -- connections come and go

    def unlink(self) -> None:
        """The connection is gone. Questions without a name will not be asked again by the same one."""
        self.linked = False
        self._resuming = {}
        for shown, question in list(self._questions.items()):
            question.is_asked = False
            if question.name is None:
                self._take_back(shown)

    def greet(self) -> str:
        """What a new connection hears first."""
        assert self.hello is not None, "nobody connects before the editor has said hello"
        return _text({**self.hello, "id": f"{OURS}hello"})

    def _own(self, name: str, message: Message) -> Iterator[str]:
        """Go on with a connection that has answered a question of the bridge's own."""
        if name == f"{OURS}hello":
            if not self._greeted:
                self._greeted = True
                assert self.hello is not None, "it was sent"
                self.tell(_text({**message, "id": self.hello["id"]}))
            if self._logged_out:
                yield _text({"jsonrpc": "2.0", "id": f"{OURS}logout", "method": "logout", "params": {}})
            for n, (session, followed) in enumerate(self._sessions.items()):
                self._resuming[f"{OURS}{n}"] = session
                yield self._resume(f"{OURS}{n}", session, followed)
        elif name in self._resuming:
            session = self._resuming.pop(name)
            self._compare(session, message.get("result"))
        else:
            return
        if not self._resuming and not self.linked:
            yield from self._catch_up()

    def _resume(self, name: str, session: str, followed: Followed) -> str:
        wanted = ("cwd", "mcpServers", "additionalDirectories")
        params = {"sessionId": session} | {k: v for k, v in followed.params.items() if k in wanted}
        request = {"jsonrpc": "2.0", "id": name, "method": "session/resume", "params": params}
        return _text(_marked(request, **self._after(session)))

    def _after(self, session: str) -> dict[str, str]:
        cursor = self._cursors.get(session)
        return {} if cursor is None else {AFTER: cursor}

    def _compare(self, session: str, result: Any) -> None:
        """Take the questions off the screen that somebody has answered meanwhile."""
        pending = _meta(result if isinstance(result, dict) else {}).get(PENDING)
        if not isinstance(pending, list):
            return
        for shown, question in list(self._questions.items()):
            if question.session_id == session and not question.is_asked and question.name not in pending:
                self._take_back(shown)

    def _catch_up(self) -> Iterator[str]:
        self.linked = True
        for message in self._unanswered.values():
            if message["method"] == "session/load":
                session = (message.get("params") or {}).get("sessionId")
                message = _marked(message, **self._after(str(session)))
            yield _text(message)
        held, self._held = self._held, []
        yield from held

    # -- no hub will have us

    def refuse(self, version: str, why: str, *, terminal: bool) -> None:
        """There is no valid key: say so to whatever is asked, and what to do about it."""
        methods: list[Message] = [{"id": "hub-token", "name": "Key of the hub", "description": why}]
        if terminal:
            login = {"id": "hub-login", "type": "terminal", "name": "Log in to the hub", "description": why}
            methods.insert(0, {**login, "args": ["login"], "env": {}})
        if self.hello is not None and not self._greeted:
            self._greeted = True
            result = {
                "protocolVersion": 1,
                "agentCapabilities": {"loadSession": True},
                "authMethods": methods,
                "agentInfo": {"name": "crossdock", "title": "Crossdock", "version": version},
            }
            self.tell(_text({"jsonrpc": "2.0", "id": self.hello["id"], "result": result}))
        self.fail_all(AUTH_REQUIRED, why)

    def give_up(self, code: int, why: str) -> None:
        """There is no hub: answer what waits, `initialize` too."""
        if self.hello is not None and not self._greeted:
            refused = {"jsonrpc": "2.0", "id": self.hello["id"], "error": {"code": code, "message": why}}
            self.hello = None
            self.tell(_text(refused))
        self.fail_all(code, why)

    def fail_all(self, code: int, why: str) -> None:
        """Answer everything that waits with an error."""
        waiting, self._unanswered, self._held = self._unanswered, {}, []
        for message in waiting.values():
            told = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": why}}
            self.tell(_text(told))

    @property
    def greeted(self) -> bool:
        """Whether `initialize` has been answered."""
        return self._greeted

    @property
    def waits(self) -> bool:
        """Whether the editor waits for an answer."""
        return bool(self._unanswered) or (self.hello is not None and not self._greeted)


def too_long(most: int) -> str:
    """The answer to a message that was not read, since it is too long."""
    why = {"code": INVALID_REQUEST, "message": f"A message has at most {most} bytes; this one was not read."}
    return _text({"jsonrpc": "2.0", "id": None, "error": why})


def wants_terminal(hello: Message | None) -> bool:
    """Whether the editor can run a login in a terminal."""
    params = (hello or {}).get("params")
    capabilities = params.get("clientCapabilities") if isinstance(params, dict) else None
    auth = capabilities.get("auth") if isinstance(capabilities, dict) else None
    return isinstance(auth, dict) and auth.get("terminal") is True


def _object(text: str) -> Message | None:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _text(message: Message) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def _key(name: Any) -> str:
    return json.dumps(name)


def _meta(params: Mapping[str, Any]) -> Mapping[str, Any]:
    found = params.get(META)
    return found if isinstance(found, dict) else {}


def _marked(message: Message, **marks: Any) -> Message:
    """The message with marks in its `_meta`, which an editor's own of the same name win over."""
    params = message.get("params")
    if not isinstance(params, dict):
        params = {}
    return {**message, "params": {**params, META: {**marks, **_meta(params)}}}
