"""MCP servers and what they offer, OAuth profiles, flows and tokens."""
