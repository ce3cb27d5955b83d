"""The words of the protocol: revisions, keys, methods, and how a value is written in a header.

See https://modelcontextprotocol.io/specification/2026-07-28/basic. Nothing here reads a request.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MODERN: Final = ("2026-07-28",)
"""Revisions in which every request says everything."""
HANDSHAKE: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions in which a session begins with `initialize`, newest first."""
STRUCTURED_SINCE: Final = frozenset({"2025-06-18", "2025-11-25", *MODERN})
"""Revisions that know titles, output schemas and structured results."""

PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
TASKS: Final = "io.modelcontextprotocol/tasks"
"""The tasks extension (SEP-2663)."""

HEADER_VERSION: Final = b"mcp-protocol-version"
HEADER_SESSION: Final = b"mcp-session-id"
HEADER_METHOD: Final = b"mcp-method"
HEADER_NAME: Final = b"mcp-name"

NAMED_BY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tools/call": "name",
        "prompts/get": "name",
        "resources/read": "uri",
        "tasks/get": "taskId",
        "tasks/update": "taskId",
        "tasks/cancel": "taskId",
    }
)
"""The parameter that `Mcp-Name` repeats, by method."""
CACHEABLE: Final = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)
"""Methods whose results say how long they may be kept."""

_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


def header_text(value: str) -> str | None:
    """What a header value stands for; None when its base64 is broken, so that it equals nothing."""
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value
    try:
        content = base64.b64decode(found[1], validate=True)
        text = content.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    # More than one text decodes to the same bytes; only the one that an encoder writes is taken.
    return text if base64.b64encode(content).decode() == found[1] else None
