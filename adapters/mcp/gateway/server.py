"""One upstream server as a caller sees it at `/mcp/{server}`: its own names, approved and granted."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from adapters.mcp import wire
from adapters.mcp.errors import invalid, no_method
from adapters.mcp.exchange import Call, Notification, Result, Wanted, Wants
from adapters.mcp.gateway import leave, listening
from adapters.mcp.gateway.desk import Desk
from adapters.mcp.gateway.line import Line
from core.caller import Caller
from core.gateway.catalogue import Named, Reached, find_item, offered
from core.mcp.records import Item
from core.mcp.words import Era, ItemKind

_SHOWN: Final[Mapping[str, tuple[ItemKind, str]]] = {
    "tools/list": (ItemKind.TOOL, "tools"),
    "prompts/list": (ItemKind.PROMPT, "prompts"),
    "resources/templates/list": (ItemKind.TEMPLATE, "resourceTemplates"),
}
"""Lists that are shown as they were approved."""
_FORWARDED: Final = frozenset({"resources/list", "resources/read", "completion/complete"})
_TASKS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
_DROPPED: Final = frozenset({"tasks"})
"""Capabilities that are not passed on: tasks as 2025-11-25 tried them."""


class SameNames:
    """Addresses that are the same here and there."""

    def inner(self, uri: str) -> str | None:
        """What the server calls it."""
        return uri

    def outer(self, uri: str) -> str:
        """What the client calls it."""
        return uri


class OneServer:
    """An upstream server for one caller."""

    finishes = True

    def __init__(self, desk: Desk, caller: Caller, reached: Reached) -> None:
        self._desk = desk
        self._reached = reached
        server = reached.server
        self.name = session_name(server.slug, caller)
        self.info: Mapping[str, Any] = server.server_info or {"name": server.slug, "version": "0"}

    @property
    def instructions(self) -> str:
        """What it tells models about itself, as approved."""
        return self._reached.instructions or ""

    def capabilities(self, version: str) -> Result:
        """What it can do, and the hub with it."""
        known = {k: v for k, v in self._reached.server.capabilities.items() if k not in _DROPPED}
        said: Result = {}
        for name, value in known.items():
            said[name] = dict(value) if type(value) is dict else value
        for name in ("tools", "prompts", "resources"):
            if type(said.get(name)) is dict:
                said[name]["listChanged"] = True
        if version in wire.MODERN:
            extensions = said.get("extensions")
            said["extensions"] = {**(extensions if type(extensions) is dict else {}), wire.TASKS: {}}
        return said

    async def answer(self, call: Call) -> Result:
        """The result of a request.

        Raises:
            McpError, HubError: the refusal.
        """
        method = call.method
        if method in _SHOWN:
            return await self._list(call, *_SHOWN[method])
        if method == "tools/call":
            line, name = self._line(call), call.params.get("name")
            return await self._desk.calling.call(call, self._reached, line, name)
        if method == "prompts/get":
            await self._check_prompt(call)
            return await self._forward(call)
        if method in _FORWARDED:
            return await self._forward(call)
        if method == "logging/setLevel" and not call.modern:
            return await self._set_level(call)
        if method in _TASKS and call.modern:
            return await self._task(call)
        raise no_method(method)

    async def subscribable(self, call: Call, uri: str, *, wanted: bool = True) -> None:
        """Pass a subscription of a session on to the server, where it has sessions, too.

        Raises:
            McpError, HubError: the server refuses.
        """
        resources = self._reached.server.capabilities.get("resources")
        if type(resources) is not dict or not resources.get("subscribe"):
            raise no_method(call.method)
        line = self._line(call)
        if line.era is Era.LEGACY:
            await self._desk.bridge.forward(call, line, {"uri": uri})

    def wanted(self, call: Call) -> Wanted:
        """What of a listener's filter is honoured.

        Raises:
            McpError: it cannot be read, or is too long.
        """
        return listening.wanted(call)

    def listen(self, call: Call, wants: Wants) -> AsyncGenerator[Sequence[Notification], None]:
        """Changes of lists, which the registry sees, and what the server itself tells."""
        return listening.listen(self._desk, call, [(self._reached, self._line(call), SameNames())], wants)

    def era(self, call: Call) -> Era:
        """In which era it is spoken to for this call."""
        return self._line(call).era

    def _line(self, call: Call) -> Line:
        return self._desk.line(self._reached.server, call)

    async def _forward(self, call: Call) -> Result:
        return await self._desk.bridge.forward(
            call, self._line(call), call.params, seconds=self._reached.server.call_timeout_seconds
        )

    async def _list(self, call: Call, kind: ItemKind, key: str) -> Result:
        items = await self._desk.platform.read(call.caller, offered, (self._reached, kind))
        return {key: [shown(item, call.version) for item in items]}

    async def _check_prompt(self, call: Call) -> None:
        name = call.params.get("name")
        if type(name) is not str:
            raise invalid("name must be a string.")
        named = Named(self._reached.server.id, ItemKind.PROMPT, name)
        if await self._desk.platform.read(call.caller, find_item, named) is None:
            raise invalid(f"Unknown prompt: {name[:80]}")

    async def _set_level(self, call: Call) -> Result:
        if "logging" not in self._reached.server.capabilities:
            raise no_method(call.method)
        listening.check_level(call.params.get("level"))
        line = self._line(call)
        if line.era is Era.LEGACY:
            return await self._desk.bridge.forward(call, line, {"level": call.params["level"]})
        return {}

    async def _task(self, call: Call) -> Result:
        leave.check_tasks(call)
        own = await leave.answer(self._desk.platform, call)
        if own is not None:
            return own
        extensions = self._reached.server.capabilities.get("extensions")
        if type(extensions) is not dict or wire.TASKS not in extensions:
            raise invalid("No such task.", {"taskId": str(call.params.get("taskId"))[:80]})
        return await self._forward(call)


def session_name(server: str, caller: Caller) -> str:
    """What sessions are kept under: a session with the token of one task is none of another's."""
    return server if caller.task_id is None else f"{server} task:{caller.task_id}"


def shown(item: Item, version: str) -> dict[str, Any]:
    """A definition as it was approved, for that revision."""
    said = dict(item.approved or item.definition)
    if version not in wire.STRUCTURED_SINCE:
        for key in ("title", "outputSchema"):
            said.pop(key, None)
    return said
