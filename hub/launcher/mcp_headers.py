"""What a message of MCP over stdio needs as headers, once it goes over HTTP (MCP 2026-07-28, Transports)."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

_META: Final = "io.modelcontextprotocol/protocolVersion"
_NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

Annotations = Mapping[str, Mapping[str, str]]
"""By tool: which of its arguments go into which header."""


def version_of(message: Mapping[str, Any]) -> str | None:
    """The revision that a message says it is of; None in the era of sessions."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(_META) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def headers_of(message: Mapping[str, Any], version: str, annotations: Annotations) -> dict[str, str]:
    """The headers that mirror a message."""
    method, params = str(message.get("method", "")), message.get("params") or {}
    found = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    named_by = "taskId" if method.startswith("tasks/") else _NAMED_BY.get(method)
    name = params.get(named_by) if named_by else None
    if isinstance(name, str):
        found["Mcp-Name"] = encoded(name)
    arguments = params.get("arguments")
    if method == "tools/call" and isinstance(arguments, dict):
        for argument, header in annotations.get(str(name), {}).items():
            if arguments.get(argument) is not None:
                found[f"Mcp-Param-{header}"] = encoded(arguments[argument])
    return found


def annotations_of(result: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Which arguments of the tools in a list go into headers."""
    found: dict[str, dict[str, str]] = {}
    for tool in result.get("tools") or ():
        properties = (tool.get("inputSchema") or {}).get("properties") or {}
        marked = {
            name: said["x-mcp-header"]
            for name, said in properties.items()
            if isinstance(said, dict) and isinstance(said.get("x-mcp-header"), str)
        }
        if marked:
            found[str(tool.get("name"))] = marked
    return found


def encoded(value: object) -> str:
    """A value as a header carries it."""
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    plain = (
        text.isascii() and text.isprintable() and text == text.strip() and not text.startswith("=?base64?")
    )
    return text if plain else f"=?base64?{b64encode(text.encode()).decode()}?="
