"""The hub itself as an MCP server: its tools, its resources, and its tasks as MCP tasks.

A caller may do here what it may do over REST. Only MCP tasks are narrower: they are seen by their submitter.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from adapters.mcp import asking, durable, playbooks, resources, toolbox, wire, working
from adapters.mcp.config import McpConfig
from adapters.mcp.errors import invalid, no_method
from adapters.mcp.exchange import Call, Notification, Result, Wanted, Wants
from core.errors import NotFound
from core.events import Event, EventFilter, follow
from core.platform import Platform
from core.tasks.read import GetTask, view_task

TOOLS: Final = (*asking.TOOLS, *working.TOOLS)
MOST_WANTED: Final = 1_000
"""Resources and tasks that one listener may follow."""
_INSTRUCTIONS: Final = (
    "Crossdock is a durable task hub. To have something done, use submit_task and follow it with get_task; "
    "answer its questions with answer_task. To do work as an agent, use claim_task, keep the lease_id, renew "
    "it in time, and end with complete_task or fail_task. Nothing that was acknowledged is lost."
)


class HubServer:
    """The hub's own server."""

    name = "crossdock"
    finishes = False
    instructions = _INSTRUCTIONS

    def __init__(self, platform: Platform, config: McpConfig) -> None:
        self._platform = platform
        self._config = config
        self.info: Mapping[str, Any] = {
            "name": "crossdock",
            "title": "Crossdock",
            "version": config.version,
            "websiteUrl": config.public_url,
        }
        self._methods: Mapping[str, Callable[[Call], Awaitable[Result]]] = {
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
            "prompts/list": lambda call: playbooks.prompts(platform, call),
            "prompts/get": lambda call: playbooks.prompt(platform, call),
            "resources/list": self._list_resources,
            "resources/templates/list": self._list_templates,
            "resources/read": self._read_resource,
        }
        self._modern: Mapping[str, Callable[[Call], Awaitable[Result]]] = {
            **self._methods,
            "tasks/get": lambda call: durable.get(platform, call),
            "tasks/update": lambda call: durable.update(platform, call),
            "tasks/cancel": lambda call: durable.cancelled(platform, call),
        }

    def capabilities(self, version: str) -> Result:
        """Tools, prompts and resources, and for the modern era MCP tasks."""
        said: Result = {"tools": {}, "prompts": {}, "resources": {"subscribe": True}}
        if version in wire.MODERN:
            said["extensions"] = {wire.TASKS: {}}
        return said

    async def answer(self, call: Call) -> Result:
        """The result of a request.

        Raises:
            McpError, HubError: the refusal.
        """
        found = (self._modern if call.modern else self._methods).get(call.method)
        if found is None:
            raise no_method(call.method)
        return await found(call)

    async def subscribable(self, call: Call, uri: str, *, wanted: bool = True) -> None:
        """Pass only a resource that the caller may read.

        Raises:
            McpError: there is none.
        """
        if wanted:
            await resources.read(self._platform, call, uri)

    def wanted(self, call: Call) -> Wanted:
        """Resources and tasks. Of its lists a client asks when it wants to know.

        Raises:
            McpError: the filter cannot be read, or is too long.
        """
        asked = call.params.get("notifications")
        if type(asked) is not dict:
            raise invalid("notifications must be an object.")
        uris, task_ids = asked.get("resourceSubscriptions") or [], asked.get("taskIds") or []
        for named, values in (("resourceSubscriptions", uris), ("taskIds", task_ids)):
            if type(values) is not list or not all(type(value) is str for value in values):
                raise invalid(f"notifications.{named} must be an array of strings.")
            if len(values) > MOST_WANTED:
                raise invalid(f"notifications.{named} names more than {MOST_WANTED}.")
        return Wanted(frozenset(uris), frozenset(task_ids) if call.supports(wire.TASKS) else frozenset())

    async def listen(self, call: Call, wants: Wants) -> AsyncGenerator[Sequence[Notification], None]:
        """Changes of resources and of MCP tasks, from now on.

        Raises:
            SlowReader: the reader fell behind.
            Unavailable: the hub is stopping.
        """
        feed = follow(self._platform, replace(call.caller, full=True), EventFilter())
        try:
            async for _, events in feed:
                yield await self._told(call, await wants(), events)
        finally:
            await feed.aclose()  # type: ignore[attr-defined]  # it is a generator

    async def _told(self, call: Call, wanted: Wanted, events: Sequence[Event]) -> Sequence[Notification]:
        changed: dict[str, None] = {}
        moved: dict[UUID, None] = {}
        for event in events:
            changed |= dict.fromkeys(resources.touched(event, wanted.uris))
            if event.task_id is not None and str(event.task_id) in wanted.task_ids:
                moved[event.task_id] = None
        told: list[Notification] = [("notifications/resources/updated", {"uri": uri}) for uri in changed]
        for task_id in moved:
            try:
                view = await self._platform.read(call.caller, view_task, GetTask(task_id))
            except NotFound:  # somebody else's, which this listener may see only as a resource
                continue
            said = durable.detailed(view, call.caller, call.capabilities, call.version)
            told.append(("notifications/tasks", said))
        return told

    async def _list_tools(self, call: Call) -> Result:
        offered = await playbooks.tools(self._platform, call)
        return {"tools": [*(tool.shown(call.version) for tool in TOOLS), *offered]}

    async def _call_tool(self, call: Call) -> Result:
        arguments = call.params.get("arguments")
        if arguments is not None and type(arguments) is not dict:
            raise invalid("arguments must be an object.")
        name = call.params.get("name")
        ran = await playbooks.run(self._platform, self._config, call, str(name), arguments or {})
        if ran is not None:
            return ran
        tool = toolbox.named(TOOLS, name)
        return await tool.call(self._platform, self._config, call, arguments or {})

    async def _list_resources(self, call: Call) -> Result:
        return await resources.listed(self._platform, call)

    async def _list_templates(self, call: Call) -> Result:
        return {"resourceTemplates": [dict(template) for template in resources.TEMPLATES]}

    async def _read_resource(self, call: Call) -> Result:
        uri = call.params.get("uri")
        if type(uri) is not str:
            raise invalid("uri must be a string.")
        return await resources.read(self._platform, call, uri)
