"""One session with one agent: its process, what the agent can and offers, and what it says.

The process is the session's own, so that nothing of it, its MCP servers above all, is seen in another one.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from adapters.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND
from adapters.jsonrpc_peer import RpcError
from hub.worker.acp.connection import AgentGone, Connection
from hub.worker.acp.offers import Offers
from hub.worker.acp.process import Process
from hub.worker.acp.profiles import Profile
from hub.worker.acp.services import Services
from hub.worker.acp.wire import Update

PROTOCOL_VERSION: Final = 1
AUTH_REQUIRED: Final = -32000
START_SECONDS: Final = 120.0
OPEN_SECONDS: Final = 180.0
CHOICE_SECONDS: Final = 30.0
KEPT_UPDATES: Final = 200
"""Updates that come while no turn runs, kept for the next one."""
KEPT_CALLS: Final = 500
"""Tool calls that are remembered, to say in full what leave is asked for."""
_SHORT_OF: Final = frozenset({"content", "rawOutput", "status", "sessionUpdate"})


class NotLoggedIn(Exception):
    """The agent wants somebody to log in first; the message says how."""


class WrongVersion(Exception):
    """The agent speaks no version of the protocol that the worker speaks."""


class Listener(Protocol):
    """The turn that runs: what the agent says and asks goes there."""

    async def hear(self, said: Update, size: int) -> None:
        """An update, as the hub's route takes it."""

    async def permission(self, params: Mapping[str, Any], call: Mapping[str, Any]) -> Any:
        """Answer `session/request_permission`; `call` is all that is known of the tool call."""

    async def elicit(self, params: Mapping[str, Any]) -> Any:
        """Answer `elicitation/create`."""


@dataclass(frozen=True)
class Running:
    """How the worker runs its agent."""

    argv: Sequence[str]
    profile: Profile
    environ: Mapping[str, str] = field(repr=False)
    client_version: str
    files: bool = False
    terminals: bool = False


@dataclass(frozen=True)
class Place:
    """Where a session works, and with what."""

    cwd: str
    directories: Sequence[str] = ()
    mcp_servers: Sequence[Mapping[str, Any]] = field(default=(), repr=False)


class AgentSession:
    """A session. `close` it, or `kill` it."""

    def __init__(self, running: Running, place: Place, process: Process, services: Services) -> None:
        self.place = place
        self.id: str | None = None
        self.capabilities: Mapping[str, Any] = {}
        self.agent_info: Mapping[str, Any] | None = None
        self.offers = Offers()
        self.listener: Listener | None = None
        self.left_out: Sequence[str] = ()
        """MCP servers of the client that this agent cannot reach."""
        self._running = running
        self._services = services
        self._auth_methods: Sequence[Mapping[str, Any]] = ()
        self._muted = False
        self._kept: list[tuple[Update, int]] = []
        self._calls: OrderedDict[str, dict[str, Any]] = OrderedDict()
        answers = {
            **services.answers(),
            "session/request_permission": self._permission,
            "elicitation/create": self._elicit,
        }
        self._connection = Connection(process, answers, self._hear)

    @classmethod
    async def start(cls, running: Running, place: Place) -> "AgentSession":
        """Start the agent and agree on the version.

        Raises:
            AgentGone, WrongVersion: it does not start, or speaks otherwise.
            OSError: the workspace is not there.
        """
        services = Services(
            [place.cwd, *place.directories],
            running.environ,
            files=running.files,
            terminals=running.terminals,
        )
        try:
            process = await Process.start(running.argv, directory=place.cwd, environ=running.environ)
        except BaseException:
            await services.close()
            raise
        session = cls(running, place, process, services)
        try:
            await session._initialize()
        except BaseException:
            session.kill()
            await session.close()
            raise
        return session

    @property
    def gone(self) -> bool:
        """Whether its process has ended."""
        return self._connection.gone

    @property
    def can_resume(self) -> bool:
        """Whether another process of this agent could take the session up."""
        return self._running.profile.loads_past and (self._has("resume") or self._loads)

    @property
    def _loads(self) -> bool:
        return self.capabilities.get("loadSession") is True

    def _has(self, name: str) -> bool:
        found = self.capabilities.get("sessionCapabilities")
        return isinstance(found, Mapping) and found.get(name) not in (None, False)

    async def open(self, known: str | None = None, forked_from: str | None = None) -> bool:
        """Open the session, or take up one of before; tell whether the agent knows what was said in it.

        Raises:
            NotLoggedIn, AgentGone, RpcError: it cannot be opened.
        """
        if known is not None and self.can_resume and await self._take_up(known):
            return True
        if forked_from is not None and self._has("fork"):
            try:
                await self._opened("session/fork", {"sessionId": forked_from, **self._where()}, None)
            except RpcError:
                pass  # a session that it has lost is told from the hub's log, or not at all
            else:
                return True
        await self._opened("session/new", self._where(), None)
        return False

    async def choose(self, autonomy: str, chosen: Mapping[str, Any]) -> list[str]:
        """Tell the agent what the owner chose; what it does not take comes back in words.

        Raises:
            AgentGone: it ended.
        """
        refused: list[str] = []
        mode = self._running.profile.modes.get(autonomy, autonomy)
        if self.offers.has_mode(mode) and mode != self.offers.mode:
            taken = await self._choose("session/set_mode", {"modeId": mode}, refused, f"mode {mode}")
            if taken is not None:
                self.offers.modes = {**(self.offers.modes or {}), "currentModeId": mode}
        by_option = None if self.offers.modes else self.offers.mode_option(mode)
        if by_option is not None:
            chosen = {**chosen, by_option: mode}
        for option, value, old in self.offers.to_choose(chosen):
            said = f"{option} {value}"
            if old:
                if await self._choose("session/set_model", {"modelId": value}, refused, said) is not None:
                    self.offers.model_chosen(value)
            else:
                params = {"configId": option, "value": value}
                if type(value) is bool:
                    params["type"] = "boolean"
                self.offers.set_options(
                    await self._choose("session/set_config_option", params, refused, said)
                )
        return refused

    async def prompt(
        self, blocks: Sequence[Mapping[str, Any]], meta: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Do a turn; what the agent says on the way goes to the listener. `meta` travels along.

        Raises:
            RpcError, AgentGone, NotLoggedIn: it failed.
        """
        params = {"sessionId": self.id, "prompt": list(blocks), **({"_meta": dict(meta)} if meta else {})}
        result = await self._logged_in("session/prompt", params, None)
        return result if isinstance(result, Mapping) else {}

    async def cancel(self) -> None:
        """Ask the agent to end its turn, and answer what it has asked."""
        self._connection.withdraw_answers()
        await self._connection.notify("session/cancel", {"sessionId": self.id})

    async def tell_kept(self) -> None:
        """Tell the listener what was said while there was none."""
        kept, self._kept = self._kept, []
        for said, size in kept:
            if self.listener is not None:
                await self.listener.hear(said, size)

    def kill(self) -> None:
        """End the agent and everything that it started, at once."""
        self._services.kill()
        self._connection.kill()

    async def close(self) -> None:
        """End the agent, with a little time to end by itself."""
        await self._services.close()
        await self._connection.close()

    # --- opening ---

    async def _initialize(self) -> None:
        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": {
                **self._services.capabilities,
                "elicitation": {"form": {}, "url": {}},
                "session": {"configOptions": {"boolean": {}}, "notices": {}, "compaction": {}},
                "subagents": {},
            },
            "clientInfo": {
                "name": "crossdock",
                "title": "Crossdock",
                "version": self._running.client_version,
            },
        }
        result = await self._connection.request("initialize", params, seconds=START_SECONDS)
        said = result if isinstance(result, Mapping) else {}
        if said.get("protocolVersion") != PROTOCOL_VERSION:
            raise WrongVersion(f"it speaks version {said.get('protocolVersion')!r}, not {PROTOCOL_VERSION}")
        self.capabilities = _object(said.get("agentCapabilities"))
        self.agent_info = _object(said.get("agentInfo")) or None
        methods = said.get("authMethods")
        self._auth_methods = (
            [m for m in methods if isinstance(m, Mapping)] if isinstance(methods, list) else ()
        )

    def _where(self) -> dict[str, Any]:
        reached, self.left_out = _reachable(
            self.place.mcp_servers, _object(self.capabilities.get("mcpCapabilities"))
        )
        where: dict[str, Any] = {"cwd": self.place.cwd, "mcpServers": reached}
        if self.place.directories and self._has("additionalDirectories"):
            where["additionalDirectories"] = list(self.place.directories)
        return where

    async def _take_up(self, known: str) -> bool:
        method = "session/resume" if self._has("resume") else "session/load"
        self._muted = True  # its past is in the hub's log already
        try:
            await self._opened(method, {"sessionId": known, **self._where()}, known)
        except RpcError as error:
            if error.code == METHOD_NOT_FOUND and method == "session/resume" and self._loads:
                try:
                    await self._opened("session/load", {"sessionId": known, **self._where()}, known)
                except RpcError:
                    return False
                return True
            return False
        finally:
            self._muted = False
        return True

    async def _opened(self, method: str, params: Mapping[str, Any], known: str | None) -> None:
        result = await self._logged_in(method, params, OPEN_SECONDS)
        named = result.get("sessionId") if isinstance(result, Mapping) else None
        self.id = named if isinstance(named, str) and named else known
        if self.id is None:
            raise AgentGone("it opened a session without a name")
        self.offers.opened(result)

    async def _logged_in(self, method: str, params: Mapping[str, Any], seconds: float | None) -> Any:
        """A request; where the agent wants to be logged in, after logging in by what the worker has."""
        try:
            return await self._connection.request(method, params, seconds=seconds)
        except RpcError as error:
            if error.code != AUTH_REQUIRED:
                raise
            tried = self._auth_method()
            if tried is None:
                raise NotLoggedIn(_how_to_log_in(error.message, self._auth_methods)) from None
        try:
            await self._connection.request("authenticate", {"methodId": tried}, seconds=OPEN_SECONDS)
            return await self._connection.request(method, params, seconds=seconds)
        except RpcError as error:
            if error.code != AUTH_REQUIRED:
                raise
            raise NotLoggedIn(_how_to_log_in(error.message, self._auth_methods)) from None

    def _auth_method(self) -> str | None:
        profile, offered = self._running.profile, {method.get("id") for method in self._auth_methods}
        for method in profile.auth:
            needed = profile.needs.get(method)
            if method in offered and (needed is None or needed in self._running.environ):
                return method
        return None

    async def _choose(self, method: str, params: Mapping[str, Any], refused: list[str], what: str) -> Any:
        try:
            params = {"sessionId": self.id, **params}
            result = await self._connection.request(method, params, seconds=CHOICE_SECONDS)
        except RpcError as error:
            refused.append(f"{what}: {error.message[:200]}")
            return None
        return {} if result is None else result

    # --- what the agent says and asks ---

    async def _hear(self, method: str, params: dict[str, Any], size: int) -> None:
        update = params.get("update")
        if method != "session/update" or not isinstance(update, dict):
            return
        said = {name: value for name, value in params.items() if name != "sessionId"}
        below = params.get("sessionId")
        if self.id is not None and below != self.id and isinstance(below, str):
            said["childSessionId"] = below
        else:
            self.offers.hear(update)
        if update.get("sessionUpdate") in ("tool_call", "tool_call_update"):
            self._remember(update)
        if self._muted:
            return
        if self.listener is not None:
            await self.listener.hear(said, size)
        elif len(self._kept) < KEPT_UPDATES:
            self._kept.append((said, size))

    def _remember(self, call: Mapping[str, Any]) -> dict[str, Any]:
        known = self._calls.pop(str(call.get("toolCallId")), {})
        for name, value in call.items():
            if value is not None and name not in _SHORT_OF:
                known[name] = value
        self._calls[str(call.get("toolCallId"))] = known
        while len(self._calls) > KEPT_CALLS:
            self._calls.popitem(last=False)
        return known

    async def _permission(self, params: dict[str, Any]) -> Any:
        call = params.get("toolCall")
        if not isinstance(call, dict) or not isinstance(params.get("options"), list):
            raise RpcError(INVALID_PARAMS, "toolCall and options are needed")
        if self.listener is None:
            return {"outcome": {"outcome": "cancelled"}}
        return await self.listener.permission(params, {**self._remember(call), **call})

    async def _elicit(self, params: dict[str, Any]) -> Any:
        if params.get("mode", "form") not in ("form", "url"):
            raise RpcError(INVALID_PARAMS, "mode must be form or url")
        if self.listener is None:
            return {"action": "cancel"}
        return await self.listener.elicit(params)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _reachable(
    servers: Sequence[Mapping[str, Any]], capabilities: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The servers of kinds that the agent can reach, and the names of the others."""
    reached: list[Mapping[str, Any]] = []
    left_out: list[str] = []
    for server in servers:
        kind = server.get("type")
        if kind in (None, "stdio") or capabilities.get(str(kind)) is True:
            reached.append(server)
        else:
            left_out.append(f"{server.get('name')} ({kind})")
    return reached, left_out


def _how_to_log_in(message: str, methods: Sequence[Mapping[str, Any]]) -> str:
    ways = [str(method.get("description") or method.get("name") or method.get("id")) for method in methods]
    hint = f" It offers: {'; '.join(ways)}." if ways else ""
    return f"The agent on the worker's machine is not logged in ({message[:200]}).{hint}"
