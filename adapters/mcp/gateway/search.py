"""Tools about tools, for lists that are too long for a model: one finds some, the other calls one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.mcp import toolbox
from adapters.mcp.errors import invalid
from adapters.mcp.exchange import Result

FIND: Final = "find_tools"
CALL: Final = "call_tool"
MOST_FOUND: Final = 25
_WORDS: Final = re.compile(r"[a-z0-9]+")
_READ_ONLY: Final = {"readOnlyHint": True, "openWorldHint": False}
TOOLS: Final[Sequence[Mapping[str, Any]]] = (
    {
        "name": FIND,
        "title": "Find tools",
        "description": "Finds tools of the servers behind this hub by what they do. Gives their definitions.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What the tool should do, in a few words."},
                "limit": {"type": "integer", "minimum": 1, "maximum": MOST_FOUND, "default": 5},
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        "annotations": _READ_ONLY,
    },
    {
        "name": CALL,
        "title": "Call a tool",
        "description": "Calls a tool that find_tools has found, by its name, with arguments that fit it.",
        "inputSchema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
)


def shown(version: str, structured: frozenset[str]) -> list[dict[str, Any]]:
    """Their definitions for a revision."""
    return [
        {key: value for key, value in tool.items() if key != "title" or version in structured}
        for tool in TOOLS
    ]


def found(tools: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any], version: str) -> Result:
    """The tools that fit a query best, best first.

    Raises:
        McpError: the arguments are wrong.
    """
    query, limit = arguments.get("query"), arguments.get("limit", 5)
    if type(query) is not str or type(limit) is not int or not 1 <= limit <= MOST_FOUND:
        raise invalid(f"query must be a string, limit a number up to {MOST_FOUND}.")
    wanted = set(_WORDS.findall(query.lower()))
    scored = [(_score(tool, wanted), -place, tool) for place, tool in enumerate(tools)]
    best = sorted((one for one in scored if one[0] > 0), key=lambda one: one[:2], reverse=True)
    return toolbox.result(version, {"tools": [dict(tool) for _, _, tool in best[:limit]], "of": len(tools)})


def _score(tool: Mapping[str, Any], wanted: set[str]) -> float:
    name = set(_WORDS.findall(str(tool.get("name", "")).lower().replace("_", " ")))
    said = f"{tool.get('title', '')} {tool.get('description', '')}".lower()
    text = set(_WORDS.findall(said))
    near = sum(any(word in known for known in name | text) for word in wanted)
    return 4 * len(wanted & name) + 2 * len(wanted & text) + near
