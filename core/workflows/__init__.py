"""Workflows: playbooks that run. Stages, the steps that they are made of, gates, and how they go on."""
