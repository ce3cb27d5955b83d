"""What is exposed, as agents of their own: each with a card and endpoints below its slug.

They are asked for with every call, so that what was changed or removed at run time, on whatever replica, is
so at once.
"""

import re
from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

from adapters.a2a.agent import ExposedAgent, Skill
from adapters.a2a.errors import AGENT_NOT_FOUND, A2AError
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM, Caller
from core.exposures import Exposure, ListExposures, exposure_at, list_exposures
from core.platform import Platform

PREFIX: Final = "/agents/"
LISTED: Final = 100
_PATH: Final = re.compile(r"/agents/([^/]+)(/.*)")
_SLUG: Final = re.compile(r"[a-z0-9-]{1,63}")
_ANYBODY: Final = SYSTEM(DEFAULT_TENANT)


def below_slug(path: str) -> str | None:
    """What follows `/agents/{slug}` in a path; None for every other path."""
    found = _PATH.fullmatch(path)
    return None if found is None else found[2]


def agent_of(exposure: Exposure) -> ExposedAgent:
    """An exposure as A2A callers see it. One that says no skill has one of its name and description."""
    skills = [
        Skill(skill["id"], skill["name"], skill["description"], skill["tags"], skill["examples"])
        for skill in exposure.skills
    ]
    general = Skill(exposure.slug, exposure.name, exposure.description, [exposure.slug])
    return ExposedAgent(
        name=exposure.name,
        description=exposure.description,
        skills=skills or [general],
        input_modes=exposure.input_modes,
        output_modes=exposure.output_modes,
        also_accepts=("text/*",) if "text/plain" in exposure.input_modes else (),
        required_tags=[exposure.target.tag] if exposure.target.play is None else (),
        play=exposure.target.play,
        path=PREFIX + exposure.slug,
        required_extensions=exposure.required_extensions,
        slug=exposure.slug,
        exposure_id=exposure.id,
        tenant_id=exposure.tenant_id,
        changed_at=exposure.updated_at,
    )


class Exposed:
    """The agents beside the hub."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def named(self, slug: str, caller: Caller | None = None) -> ExposedAgent:
        """The agent of a slug, for a caller of its tenant; without a caller, for whoever reads its card.

        Raises:
            A2AError: there is none, or none for this caller; they look alike.
        """
        exposure = None
        if _SLUG.fullmatch(slug):
            exposure = await self._platform.read(_ANYBODY, exposure_at, slug)
        if exposure is None or (caller is not None and caller.tenant_id != exposure.tenant_id):
            raise A2AError(AGENT_NOT_FOUND, "No agent is exposed here.")
        return agent_of(exposure)

    async def of(self, caller: Caller) -> Sequence[ExposedAgent]:
        """The agents that a caller may address, newest first, as many as a card can tell."""
        query = ListExposures(per_page=LISTED, active=True)
        found = await self._platform.read(caller, list_exposures, query)
        return [agent_of(exposure) for exposure in found.items]

    async def addressed(self, scope: Scope, caller: Caller) -> ExposedAgent:
        """The agent that the path of a request names.

        Raises:
            A2AError: as `named`.
        """
        return await self.named(scope["path_params"]["slug"], caller)
