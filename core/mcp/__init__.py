"""MCP servers that the hub calls for others: what is known of them, what they offer, how they are doing."""
