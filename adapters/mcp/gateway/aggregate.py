"""Everything that a caller was granted as one server, at `/mcp`: names `slug__name`, and the hub's own tools.

The address may narrow it: `/mcp?servers=a,b&tools=a__*`. A list that would be too long for a model has the
hub's own tools and two that find and call the others (`search.py`); every tool can be called all the same.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qs

from adapters.mcp import errors, shown, wire
from adapters.mcp.answering import stop
from adapters.mcp.errors import McpError, invalid, no_method
from adapters.mcp.exchange import Call, McpServer, Notification, Result, Wanted, Wants
from adapters.mcp.gateway import leave, listening, naming, search
from adapters.mcp.gateway.desk import Desk
from adapters.mcp.gateway.naming import Addresses, Part
from adapters.mcp.gateway.server import OneServer, session_name
from adapters.mcp.gateway.server import shown as definition
from core.caller import Caller
from core.gateway import policy
from core.gateway.catalogue import Reached, offered
from core.mcp.records import Item
from core.mcp.words import Era, ItemKind

MOST_LISTED: Final = 100
"""So many tools of servers are listed; where there are more, two tools stand for all of them."""
_OWN_TASKS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})


class Aggregate:
    """All of it, for one caller. `own` is None for the token of a task."""

    finishes = True
    instructions: str

    def __init__(
        self, desk: Desk, caller: Caller, reached: Sequence[Reached], own: McpServer | None, query: str = ""
    ) -> None:
        asked = parse_qs(query)
        servers, self._tools = _listed(asked.get("servers")), _listed(asked.get("tools"))
        self._desk = desk
        self._own = own
        self._reached = [r for r in reached if servers is None or r.server.slug in servers]
        self.name = session_name("gateway", caller)
        self.info: Mapping[str, Any] = desk.info
        names = ", ".join(reached.server.slug for reached in self._reached) or "none"
        told = "" if own is None else own.instructions + " "
        self.instructions = f"{told}Servers behind this hub, whose tools are called slug__name: {names}."

    def capabilities(self, version: str) -> Result:
        """What any of them can do."""
        said: Result = {"tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": True}}
        known = {name for reached in self._reached for name in reached.server.capabilities}
        said |= {name: {} for name in ("completions", "logging") if name in known}
        if "prompts" in known:
            said["prompts"] = {"listChanged": True}
        if version in wire.MODERN:
            said["extensions"] = {wire.TASKS: {}}
        return said

    async def answer(self, call: Call) -> Result:
        """The result of a request.

        Raises:
            McpError, HubError: the refusal.
        """
        method, params = call.method, call.params
        if method == "tools/list":
            return {"tools": await self._list_tools(call)}
        if method == "tools/call":
            return await self._call_tool(call, params)
        if method == "prompts/list":
            return {"prompts": await self._list(call, ItemKind.PROMPT)}
        if method == "prompts/get":
            reached, name = await self._prompt(call, params.get("name"))
            return await self._one(call, reached).answer(_with(call, name=name))
        if method in ("resources/list", "resources/templates/list", "resources/read"):
            return await self._resource(call)
        if method == "completion/complete":
            return await self._complete(call)
        if method == "logging/setLevel" and not call.modern:
            return await self._set_level(call)
        if method in _OWN_TASKS and call.modern:
            return await self._task(call)
        raise no_method(method)

    async def subscribable(self, call: Call, uri: str, *, wanted: bool = True) -> None:
        """Pass a subscription on to whoever has the resource.

        Raises:
            McpError, HubError: nobody has it.
        """
        if self._own is not None and uri.startswith(shown.TASK_URI):
            return await self._own.subscribable(call, uri, wanted=wanted)
        part, inner = await self._owner(call, uri)
        return await self._one(call, part.reached).subscribable(_with(call, uri=inner), inner, wanted=wanted)

    def wanted(self, call: Call) -> Wanted:
        """What of a listener's filter is honoured.

        Raises:
            McpError: it cannot be read, or is too long.
        """
        return listening.wanted(call)

    async def listen(self, call: Call, wants: Wants) -> AsyncGenerator[Sequence[Notification], None]:
        """What the servers tell, and what the hub's own tells.

        Raises:
            Unavailable: the hub is stopping.
        """
        addresses = Addresses(await self._parts(call))
        lines = [
            (reached, self._desk.line(reached.server, call), _Names(addresses, reached.server.slug))
            for reached in self._reached
        ]
        feeds = [listening.listen(self._desk, call, lines, wants)]
        if self._own is not None:
            feeds.append(self._own.listen(call, wants))
        async for batch in _merged(feeds):
            yield batch

    # Tools

    async def _list_tools(self, call: Call) -> list[dict[str, Any]]:
        own = [] if self._own is None else (await self._own.answer(call))["tools"]
        own = [tool for tool in own if self._shows(tool["name"])]
        tools = await self._list(call, ItemKind.TOOL)
        if not self._reached:
            return own
        about = search.shown(call.version, wire.STRUCTURED_SINCE)
        about = [tool for tool in about if self._shows(tool["name"])]
        return [*own, *about, *(tools if len(tools) <= MOST_LISTED or self._tools is not None else ())]

    async def _list(self, call: Call, kind: ItemKind) -> list[dict[str, Any]]:
        found = []
        for reached in self._reached:
            for item in await self._desk.platform.read(call.caller, offered, (reached, kind)):
                name = naming.outer(reached.server.slug, item.name)
                if self._shows(name):
                    found.append({**definition(item, call.version), "name": name})
        return found

    def _shows(self, name: str) -> bool:
        return self._tools is None or any(policy.matches(pattern, name) for pattern in self._tools)

    async def _call_tool(self, call: Call, params: Mapping[str, Any]) -> Result:
        name = params.get("name")
        if type(name) is not str:
            raise invalid("name must be a string.")
        if name == search.FIND and self._reached:
            tools = await self._list(call, ItemKind.TOOL)
            return search.found(tools, params.get("arguments") or {}, call.version)
        if name == search.CALL and self._reached:
            asked = params.get("arguments")
            if type(asked) is not dict or asked.get("name") in (search.CALL, search.FIND, None):
                raise invalid("name must be that of a tool which find_tools has found.")
            inner = {"name": asked["name"], "arguments": asked.get("arguments") or {}}
            # Arguments of the tool are not in headers, since the client did not know it.
            return await self._call_tool(replace(call, headers=_NO_HEADERS), {**params, **inner})
        if not self._shows(name):
            raise invalid(f"Unknown tool: {name[:80]}")
        if naming.split(name) is None:
            if self._own is None:
                raise invalid(f"Unknown tool: {name[:80]}")
            return await self._own.answer(_with(call, **params))
        reached, tool = await self._named(call, ItemKind.TOOL, name)
        headers = None if call.headers is _NO_HEADERS else call.headers
        asked_of = replace(call, params={**params, "name": tool})
        line = self._desk.line(reached.server, call)
        result = await self._desk.calling.call(asked_of, reached, line, tool, checked=headers is not None)
        if result.get("resultType") == "task" and not str(result.get("taskId")).startswith(leave.TASK):
            return {**result, "taskId": f"{reached.server.slug}__{result.get('taskId')}"}
        return result

    async def _named(self, call: Call, kind: ItemKind, name: str) -> tuple[Reached, str]:
        """The server and the inner name behind a name.

        Raises:
            McpError: it is nobody's.
        """
        found = naming.split(name)
        for reached in self._reached:
            if found is not None and reached.server.slug == found[0]:
                if naming.outer(*found) == name and not naming.is_cut(name):
                    return reached, found[1]
                for item in await self._desk.platform.read(call.caller, offered, (reached, kind)):
                    if naming.outer(reached.server.slug, item.name) == name:
                        return reached, item.name
        raise invalid(f"Unknown {kind.value}: {name[:80]}")

    async def _prompt(self, call: Call, name: object) -> tuple[Reached, str]:
        if type(name) is not str:
            raise invalid("name must be a string.")
        return await self._named(call, ItemKind.PROMPT, name)

    # Resources

    async def _parts(self, call: Call) -> list[Part]:
        async def read(reached: Reached, kind: ItemKind) -> Sequence[Item]:
            return await self._desk.platform.read(call.caller, offered, (reached, kind))

        return [
            Part(reached, await read(reached, ItemKind.RESOURCE), await read(reached, ItemKind.TEMPLATE))
            for reached in self._reached
        ]

    async def _owner(self, call: Call, uri: object) -> tuple[Part, str]:
        if type(uri) is not str:
            raise invalid("uri must be a string.")
        found = Addresses(await self._parts(call)).inner(uri)
        if found is None:
            code = invalid("").code if call.modern else errors.RESOURCE_NOT_FOUND
            raise McpError(code, "Resource not found", {"uri": uri[:200]})
        return found

    async def _resource(self, call: Call) -> Result:
        uri = call.params.get("uri")
        if call.method == "resources/read":
            if self._own is not None and type(uri) is str and uri.startswith(shown.TASK_URI):
                return await self._own.answer(call)
            part, inner = await self._owner(call, uri)
            return await self._one(call, part.reached).answer(_with(call, uri=inner))
        listed, key = ("resources", "uri"), call.params.get("cursor")
        if call.method == "resources/templates/list":
            listed = ("resourceTemplates", "uriTemplate")
        own = {listed[0]: []} if self._own is None else await self._own.answer(call)
        if key is None:  # what the servers offer is all on the first page
            parts = await self._parts(call)
            addresses = Addresses(parts)
            theirs = [
                {**definition(item, call.version), listed[1]: addresses.outer(part.slug, item.name)}
                for part in parts
                for item in (part.resources if listed[0] == "resources" else part.templates)
            ]
            own = {**own, listed[0]: [*own[listed[0]], *theirs]}
        return own

    async def _complete(self, call: Call) -> Result:
        ref = call.params.get("ref")
        if type(ref) is not dict:
            raise invalid("ref must be an object.")
        if ref.get("type") == "ref/prompt":
            reached, name = await self._prompt(call, ref.get("name"))
            inner = {**ref, "name": name}
        else:
            part, uri = await self._owner(call, ref.get("uri"))
            reached, inner = part.reached, {**ref, "uri": uri}
        return await self._one(call, reached).answer(_with(call, ref=inner))

    # The rest

    async def _set_level(self, call: Call) -> Result:
        listening.check_level(call.params.get("level"))
        for reached in self._reached:
            if "logging" in reached.server.capabilities:
                one = self._one(call, reached)
                if one.era(call) is Era.LEGACY:
                    await one.answer(call)
        return {}

    async def _task(self, call: Call) -> Result:
        leave.check_tasks(call)
        own = await leave.answer(self._desk.platform, call)
        if own is not None:
            return own
        found = naming.split(str(call.params.get("taskId")))
        for reached in self._reached:
            if found is not None and reached.server.slug == found[0]:
                result = await self._one(call, reached).answer(_with(call, taskId=found[1]))
                named = {"taskId": call.params["taskId"]} if "taskId" in result else {}
                return {**result, **named}
        if self._own is None:
            raise invalid("No such task.", {"taskId": str(call.params.get("taskId"))[:80]})
        return await self._own.answer(call)

    def _one(self, call: Call, reached: Reached) -> OneServer:
        return OneServer(self._desk, call.caller, reached)


_NO_HEADERS: Final[Mapping[bytes, str]] = {}


class _Names:
    """Addresses of one server, there and back."""

    def __init__(self, addresses: Addresses, slug: str) -> None:
        self._addresses = addresses
        self._slug = slug

    def inner(self, uri: str) -> str | None:
        found = self._addresses.inner(uri)
        return found[1] if found is not None and found[0].slug == self._slug else None

    def outer(self, uri: str) -> str:
        return self._addresses.outer(self._slug, uri)


def _with(call: Call, **params: Any) -> Call:
    return replace(call, params={**call.params, **params})


def _listed(values: list[str] | None) -> list[str] | None:
    found = [one.strip() for value in values or () for one in value.split(",") if one.strip()]
    return found or None


async def _merged(
    feeds: Sequence[AsyncGenerator[Sequence[Notification], None]],
) -> AsyncGenerator[Sequence[Notification], None]:
    """The batches of several feeds as they come; the first of them, once each feed has begun."""
    begun = [await anext(feed) for feed in feeds]
    yield [found for batch in begun for found in batch]
    following = {asyncio.ensure_future(anext(feed)): feed for feed in feeds}
    try:
        while following:
            done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                feed = following.pop(future)
                try:
                    batch = future.result()
                except StopAsyncIteration:
                    continue
                following[asyncio.ensure_future(anext(feed))] = feed
                yield batch
    finally:
        await stop(*following)
        for feed in feeds:
            await feed.aclose()
