"""Grants, tool calls and what the gateway must remember of them."""
