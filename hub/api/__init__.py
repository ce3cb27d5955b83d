"""REST: the routes of `/api/v1`. Each module below declares some; `ROUTES` has them all, hot ones first."""

from collections.abc import Sequence
from typing import Final

from hub.api import (
    agents,
    approvals,
    auth,
    content,
    events,
    execution,
    exposures,
    mcp_grants,
    remote_agents,
    remote_mcp_servers,
    review,
    tasks,
)
from hub.api.routing import Route, routes_of

ROUTES: Final[Sequence[Route]] = tuple(
    route
    for module in (
        execution,
        tasks,
        content,
        review,
        approvals,
        agents,
        remote_agents,
        remote_mcp_servers,
        mcp_grants,
        exposures,
        events,
        auth,
    )
    for route in routes_of(module)
)
