"""Agents that the hub shows as A2A agents of their own, and the keys that sign their cards."""
