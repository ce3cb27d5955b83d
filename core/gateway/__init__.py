"""Who may call which tool of another MCP server, and the record of every call. Who calls it is an adapter."""
