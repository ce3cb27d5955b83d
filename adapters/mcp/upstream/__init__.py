"""The hub as a client of MCP servers. `Upstream.open(target, client)` gives a `Session`: `interface.py`."""

from adapters.mcp.upstream.client import Upstream
from adapters.mcp.upstream.failures import (
    BadAnswer,
    NeedsAuth,
    TimedOut,
    TooLarge,
    Unreachable,
    UpstreamError,
)
from adapters.mcp.upstream.interface import (
    Client,
    Credential,
    Message,
    OnMessage,
    Reply,
    RpcError,
    Session,
    Target,
    Verdict,
)

__all__ = [
    "BadAnswer",
    "Client",
    "Credential",
    "Message",
    "NeedsAuth",
    "OnMessage",
    "Reply",
    "RpcError",
    "Session",
    "Target",
    "TimedOut",
    "TooLarge",
    "Unreachable",
    "Upstream",
    "UpstreamError",
    "Verdict",
]
