"""The hub as an OAuth client of the MCP servers that it calls.

`discovery.py` finds out whom to ask, `clients.py` makes the hub known there, `tokens.py` asks, `engine.py`
takes the steps that `core.mcp_oauth` keeps, and `authorization.py` is what the calls to servers use.
"""

from adapters.mcp.oauth.authorization import Authorization, Authorizations, NeedsReauth
from adapters.mcp.oauth.clients import Identity
from adapters.mcp.oauth.credential import ServerCredentials
from adapters.mcp.oauth.engine import OAuthConfig, OAuthEngine
from adapters.mcp.oauth.given import RegistryGives
from adapters.mcp.oauth.upkeep import OAuthUpkeep

__all__ = [
    "Authorization",
    "Authorizations",
    "Identity",
    "NeedsReauth",
    "OAuthConfig",
    "OAuthEngine",
    "OAuthUpkeep",
    "RegistryGives",
    "ServerCredentials",
]
