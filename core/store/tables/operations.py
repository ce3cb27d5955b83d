"""Logs, metering, governance, webhooks, schedules, stored files."""
