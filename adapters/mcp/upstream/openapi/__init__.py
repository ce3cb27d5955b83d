"""An HTTP API as a server: each operation of its OpenAPI document is a tool."""

from adapters.mcp.upstream.openapi.document import BadDocument, base_url, fetched
from adapters.mcp.upstream.openapi.session import OpenApiSession

__all__ = ["BadDocument", "OpenApiSession", "base_url", "fetched"]
