"""Agent Client Protocol: the hub as an agent that editors open sessions on."""
