"""Workspaces, roles, playbooks, and the workflows made from them."""
