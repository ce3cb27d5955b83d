"""The hub as an OAuth client of the MCP servers that it calls.

`discovery.py` finds out whom to ask, `clients.py` makes the hub known there, `tokens.py` asks, `engine.py`
takes the steps that `core.mcp_oauth` keeps, and `authorization.py` is what the calls to servers use.
"""

from adapters.mcp.oauth.authorization import Authorization, Authorizations, NeedsReauth
from adapters.mcp.oauth.engine import OAuthConfig, OAuthEngine

__all__ = ["Authorization", "Authorizations", "NeedsReauth", "OAuthConfig", "OAuthEngine"]
