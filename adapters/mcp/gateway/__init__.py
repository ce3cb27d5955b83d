"""The gateway: what callers were granted of other MCP servers, at `/mcp` and `/mcp/{server}`."""

from adapters.mcp.gateway.gateway import Gateway

__all__ = ["Gateway"]
