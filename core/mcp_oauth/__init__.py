"""OAuth towards the MCP servers that the hub calls: what is kept, and how it moves. It calls nobody.

`definition.py` says how a token is had, `states.py` how flows and connections move, `profiles.py`,
`connections.py` and `flows.py` keep them, `renewal.py` lets one replica at a time renew a token. The calls
are made in `adapters/mcp/oauth`.
"""
