"""One client on one connection: what it said about itself, and the sessions that it follows.

A connection owns nothing that lasts. When it ends, its turns go on, and its questions wait for whoever comes.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from adapters import jsonrpc
from adapters.acp import capabilities
from adapters.acp import wire as checks
from adapters.acp.attachment import Attachment, Begin
from adapters.acp.capabilities import ClientCapabilities
from adapters.acp.config import ACPConfig
from adapters.acp.errors import AUTH_REQUIRED, describe
from adapters.jsonrpc_peer import Call, Peer, RpcError, Send
from core.caller import Caller
from core.platform import Platform
from core.sessions.session import Session
from schemas.acp import initialized

FACE: Final = "acp"
MOST_SESSIONS: Final = 1_000
"""Sessions that one connection may follow."""

Method = Callable[["Connection", Call], Awaitable[Any]]


class Wire(Protocol):
    """What carries a connection."""

    transport: str
    """How it is called in a session's row."""

    def route_of(self, session_id: str) -> str | None:
        """Where the answer to a call about this session goes now, so that it comes behind what was told."""

    async def settle(self, session_id: str) -> None:
        """Return when what was told of this session is on its way, or will not be for a while."""

    def announce(self, session_id: str) -> None:
        """The client is about to learn of this session by an answer."""


class Connection:
    """The hub's side of one connection. `methods` says what it can be asked.

    `ended` is set with the reason when the hub ends it.
    """

    def __init__(
        self,
        platform: Platform,
        config: ACPConfig,
        caller: Caller,
        wire: Wire,
        send: Send,
        methods: dict[str, Method],
    ) -> None:
        self.platform = platform
        self.config = config
        self.caller = caller
        self.wire = wire
        self.peer = Peer(send, self._handle)
        self.client = ClientCapabilities()
        self.client_id = secrets.token_urlsafe(16)
        self.initialized = False
        self.logged_in = True
        self.ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._methods = methods
        self._attached: dict[str, Attachment] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """The connection is gone."""
        self.peer.close()
        attached, self._attached = list(self._attached.values()), {}
        for attachment in attached:
            await attachment.close()

    def keyed(self, params: dict[str, Any]) -> Caller:
        """The caller, with the key under which this request happens once, where it names one.

        Raises:
            RpcError: the key is none.
        """
        key = checks.idempotency_key(params)
        return self.caller if key is None else replace(self.caller, replay_key=key)

    async def attach(self, session: Session, begin: Begin) -> Attachment:
        """Follow a session, from the beginning that is asked for.

        Raises:
            RpcError: this connection follows too many.
        """
        attachment = self._attached.get(session.session_id)
        if attachment is None:
            if len(self._attached) >= MOST_SESSIONS:
                raise RpcError(
                    jsonrpc.INVALID_REQUEST, f"A connection follows at most {MOST_SESSIONS} sessions."
                )
            attachment = Attachment(
                self.platform, self.caller, self.peer, session, self.client, self.client_id, self._fail
            )
            self._attached[session.session_id] = attachment
        attachment.session = session
        await attachment.begin(begin)
        return attachment

    def attached(self, session_id: str) -> Attachment | None:
        """The session, if this connection follows it."""
        return self._attached.get(session_id)

    def detach(self, session_id: str) -> None:
        """Follow it no more, once its prompts are answered."""
        attachment = self._attached.get(session_id)
        if attachment is None:
            return

        def left() -> None:
            if self._attached.get(session_id) is attachment:
                del self._attached[session_id]
            leaving = asyncio.create_task(attachment.close(), name="leave a session")
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

        attachment.leave(left)

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    async def _handle(self, call: Call) -> Any:
        if call.method == "initialize":
            return self._initialize(call)
        method = self._methods.get(call.method)
        if call.notification and method is None:
            return None  # a notification that nobody knows is nobody's
        if not self.initialized:
            raise RpcError(jsonrpc.INVALID_REQUEST, "Say initialize first.")
        if method is None:
            raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"No method is called {call.method[:80]!r}.")
        if not self.logged_in and call.method not in ("authenticate", "logout"):
            raise RpcError(AUTH_REQUIRED, "Authenticate first.")
        checks.check(call.method, call.params)
        try:
            return await method(self, call)
        except Exception as error:
            raise describe(error) from error

    def _initialize(self, call: Call) -> dict[str, Any]:
        if self.initialized:
            raise RpcError(jsonrpc.INVALID_REQUEST, "This connection is initialized.")
        capabilities.negotiated(call.params)
        self.client = ClientCapabilities.of(call.params)
        named = checks.meta(call.params, checks.CLIENT)
        if type(named) is str and 0 < len(named) <= 64:
            self.client_id = named  # decides who need not be told what it said itself, and nothing else
        self.initialized = True
        return initialized(self.config.version, terminal_login=self.client.terminal_login)
