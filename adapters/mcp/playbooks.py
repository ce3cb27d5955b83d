"""Exposed playbooks as tools and as prompts of the hub's own server.

A call of such a tool is a task that stands for a workflow: an MCP task where the client knows those, else it
is waited for a while and can be followed with get_task. Which there are, is asked for with every call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter

from adapters.mcp import durable, shown, toolbox, wire
from adapters.mcp.config import McpConfig
from adapters.mcp.errors import invalid
from adapters.mcp.exchange import Call, Result
from adapters.mcp.toolbox import Bench
from adapters.mcp.waiting import settled
from core.errors import HubError, Unauthenticated, Unavailable
from core.offered_playbooks import Offered, offered_playbook, offered_playbooks
from core.platform import Platform
from core.tasks.submit import SubmitTask, submit_view
from schemas.strict_json import dump_json

PREFIX: Final = "playbook_"
"""In front of an exposure's slug, it is the name of the tool."""
KEY: Final = "request_id"
_KEY_SCHEMA: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "Your own key for this call: a repeat with the same key and arguments runs nothing twice.",
}
PATIENCE_SECONDS: Final = 50
"""How long a call waits that cannot become an MCP task; clients give up after a minute."""
_RETURNS: Final = TypeAdapter(shown.WholeTask).json_schema(mode="serialization")


async def tools(platform: Platform, call: Call) -> Sequence[Mapping[str, Any]]:
    """As `tools/list` says them."""
    return [_tool(found, call.version) for found in await platform.read(call.caller, offered_playbooks, None)]


async def run(platform: Platform, config: McpConfig, call: Call, name: str, arguments: Any) -> Result | None:
    """The result of a call of the tool of that name; None when no playbook is offered under it.

    Raises:
        HubError: what no other arguments would change.
    """
    if not name.startswith(PREFIX):
        return None
    found = await platform.read(call.caller, offered_playbook, name.removeprefix(PREFIX))
    if found is None:
        return None
    given, key = dict(arguments), None
    if KEY not in found.schema["properties"]:
        key = given.pop(KEY, None)
        if key is not None and (type(key) is not str or not 1 <= len(key) <= 255):
            return toolbox.refused("VALIDATION_ERROR", f"{KEY}: a string of 1 to 255 characters")
    bench = Bench(platform, config, call, key)
    command = SubmitTask(title=found.name, input=given, play=replace(found.play, arguments=given))
    try:
        view = await platform.write(bench.caller, submit_view, command)
    except (Unauthenticated, Unavailable):
        raise
    except HubError as error:
        return toolbox.refused(error.code.value, error.message, error.details)
    if call.modern and call.supports(wire.TASKS):
        return durable.created(view)
    view = await settled(bench, bench.reader, view.task.id, PATIENCE_SECONDS)
    return toolbox.result(call.version, dict(shown.whole(view)))


async def prompts(platform: Platform, call: Call) -> Result:
    """`prompts/list`."""
    found = await platform.read(call.caller, offered_playbooks, None)
    return {"prompts": [_prompt(one, call.version) for one in found]}


async def prompt(platform: Platform, call: Call) -> Result:
    """`prompts/get`: what to say to a model, so that it runs the playbook.

    Raises:
        McpError: no such prompt, or an argument is missing or unknown.
    """
    name, given = call.params.get("name"), call.params.get("arguments") or {}
    if type(name) is not str or type(given) is not dict:
        raise invalid("name must be a string, and arguments an object.")
    found = await platform.read(call.caller, offered_playbook, name)
    if found is None:
        raise invalid(f"Unknown prompt: {name[:80]}")
    known = {parameter.slug for parameter in found.definition.parameters}
    missing = [wanted for wanted in found.schema.get("required", ()) if wanted not in given]
    unknown = [each for each in given if each not in known]
    if missing or unknown:
        said = f"Missing: {', '.join(missing)}." if missing else f"Unknown: {', '.join(unknown)[:200]}."
        raise invalid(said)
    text = (
        f"Run the playbook {found.name!r}: call the tool {PREFIX}{found.slug} with the arguments "
        f"{dump_json(given).decode()}. Follow its task until it ends; when it asks for a decision, ask the "
        "user, and answer with answer_task. Then tell what came of it."
    )
    return {
        "description": found.description,
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
    }


def _tool(found: Offered, version: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": PREFIX + found.slug,
        "description": (
            f"{found.description} Runs the playbook {found.name!r} as a durable workflow; the result is its "
            "task, which may ask for decisions on the way."
        ),
        "inputSchema": {**found.schema, "properties": {KEY: _KEY_SCHEMA, **found.schema["properties"]}},
        "annotations": {
            "title": found.name,
            "readOnlyHint": False,
            "destructiveHint": False,
            "idempotentHint": False,
            "openWorldHint": True,
        },
    }
    if version in wire.STRUCTURED_SINCE:
        said |= {"title": found.name, "outputSchema": _RETURNS}
    return said


def _prompt(found: Offered, version: str) -> dict[str, Any]:
    required = set(found.schema.get("required", ()))
    arguments = [
        {
            "name": parameter.slug,
            "description": parameter.description or parameter.title,
            "required": parameter.slug in required,
        }
        for parameter in found.definition.parameters
    ]
    said: dict[str, Any] = {"name": found.slug, "description": found.description, "arguments": arguments}
    return {**said, "title": found.name} if version in wire.STRUCTURED_SINCE else said
