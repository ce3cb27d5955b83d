"""REST: the routes of `/api/v1`. Each module below declares some; `ROUTES` has them all, hot ones first."""

from collections.abc import Sequence
from typing import Final

from hub.api import (
    agents,
    approvals,
    auth,
    content,
    contents,
    escalation,
    events,
    execution,
    exposures,
    legacy_a2a,
    legacy_acp,
    mcp_grants,
    mcp_hosting,
    playbooks,
    push_configs,
    remote_agents,
    remote_mcp_oauth,
    remote_mcp_oauth_profiles,
    remote_mcp_servers,
    review,
    roles,
    schedules,
    signing_keys,
    tasks,
    tools,
    triggers,
    turns,
    webhooks,
    work_items,
    workflow_parts,
    workflows,
    workspaces,
)
from hub.api.routing import Route, routes_of

ROUTES: Final[Sequence[Route]] = tuple(
    route
    for module in (
        execution,
        turns,
        tasks,
        content,
        contents,
        review,
        escalation,
        approvals,
        agents,
        remote_agents,
        remote_mcp_servers,
        remote_mcp_oauth,
        remote_mcp_oauth_profiles,
        exposures,
        mcp_grants,
        mcp_hosting,
        signing_keys,
        workspaces,
        playbooks,
        roles,
        schedules,
        triggers,
        tools,
        workflows,
        workflow_parts,
        work_items,
        events,
        webhooks,
        push_configs,
        auth,
        legacy_a2a,
        legacy_acp,
    )
    for route in routes_of(module)
)
