"""Exposures: give agents, roles and playbooks a card and endpoints, change them, take them away."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from core import exposures
from core.exposures import ChangeExposure, Expose, ExposureId, ListExposures, Target
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import exposures as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp
from schemas.vocabulary import ExposureKind, Scope

PATH = "/agents/"
"""Below the hub's public address, in front of a slug."""


@route(
    "POST",
    "/exposures",
    scope=Scope.ADMIN,
    body=v1.ExposureCreate,
    returns=v1.Exposure,
    status=201,
    errors=(404, 409),
    summary="Expose an agent, a role or a playbook",
    operation_id="exposures_create",
    example={
        "slug": "translator",
        "target": {"kind": "role", "name": "translator"},
        "name": "Translator",
        "description": "Translates documents.",
        "skills": [
            {"id": "translate", "name": "Translate", "description": "Into any language.", "tags": ["text"]}
        ],
    },
)
async def create_exposure(call: Call, body: v1.ExposureCreate) -> Reply:
    """Its card and endpoints are there at once. What is sent to it becomes a task that only the agent, or
    only agents with the role, can take; or, of a playbook, that stands for a workflow."""
    made = await call.write(
        exposures.expose,
        Expose(
            slug=body.slug,
            target=_target(body.target),
            name=body.name,
            description=body.description,
            skills=_skills(body.skills),
            input_modes=body.input_modes,
            output_modes=body.output_modes,
            required_extensions=body.required_extensions,
            is_active=body.is_active,
        ),
    )
    return Reply(exposure(call, made))


@route(
    "GET",
    "/exposures",
    scope=Scope.AGENT,
    query=v1.ExposureQuery,
    returns=list[v1.Exposure],
    meta=PageMeta,
    summary="List exposures",
    operation_id="exposures_list",
)
async def list_exposures(call: Call, query: v1.ExposureQuery) -> Reply:
    """The tenant's exposures, newest first, with those that are switched off."""
    found = await call.read(exposures.list_exposures, ListExposures(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([exposure(call, one) for one in found.items], meta)


@route(
    "GET",
    "/exposures/{id}",
    scope=Scope.AGENT,
    returns=v1.Exposure,
    errors=(404,),
    summary="Read an exposure",
    operation_id="exposures_get",
)
async def get_exposure(call: Call) -> Reply:
    """One exposure of the tenant."""
    return Reply(exposure(call, await call.read(exposures.get_exposure, ExposureId(call.id))))


@route(
    "PATCH",
    "/exposures/{id}",
    scope=Scope.ADMIN,
    body=v1.ExposurePatch,
    returns=v1.Exposure,
    errors=(404,),
    summary="Change an exposure",
    operation_id="exposures_update",
    example={"is_active": False},
)
async def patch_exposure(call: Call, body: v1.ExposurePatch) -> Reply:
    """The card says it at once. Tasks that were sent before keep who may take them."""
    changed = await call.write(
        exposures.change_exposure,
        ChangeExposure(
            call.id,
            target=None if body.target is None else _target(body.target),
            name=body.name,
            description=body.description,
            skills=None if body.skills is None else _skills(body.skills),
            input_modes=body.input_modes,
            output_modes=body.output_modes,
            required_extensions=body.required_extensions,
            is_active=body.is_active,
        ),
    )
    return Reply(exposure(call, changed))


@route(
    "DELETE",
    "/exposures/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Remove an exposure",
    operation_id="exposures_delete",
)
async def delete_exposure(call: Call) -> Reply:
    """Its tasks go on, and whoever sent them sees them through the hub's own A2A endpoints."""
    await call.write(exposures.conceal, ExposureId(call.id))
    return Reply()


def exposure(call: Call, value: exposures.Exposure) -> v1.Exposure:
    """An exposure."""
    url = f"{call.shared.public_url}{PATH}{value.slug}"
    is_agent = value.target.kind is ExposureKind.AGENT
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "slug": value.slug,
        "target": {
            "kind": value.target.kind.value,
            "id": UUID(value.target.name) if is_agent else None,
            "name": None if is_agent else value.target.name,
            "workspace_id": value.target.workspace_id,
        },
        "name": value.name,
        "description": value.description,
        "skills": [
            {
                "id": skill["id"],
                "name": skill["name"],
                "description": skill["description"],
                "tags": skill["tags"],
                "examples": skill["examples"],
            }
            for skill in value.skills
        ],
        "input_modes": list(value.input_modes),
        "output_modes": list(value.output_modes),
        "required_extensions": list(value.required_extensions),
        "is_active": value.is_active,
        "url": f"{url}/a2a",
        "card_url": f"{url}/.well-known/agent-card.json",
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def _target(given: v1.AgentTarget | v1.RoleTarget | v1.PlaybookTarget) -> Target:
    if isinstance(given, v1.AgentTarget):
        return Target(ExposureKind.AGENT, str(given.id))
    if isinstance(given, v1.PlaybookTarget):
        return Target(ExposureKind.PLAYBOOK, given.name, given.workspace_id)
    return Target(ExposureKind.ROLE, given.name)


def _skills(given: Sequence[v1.Skill]) -> list[dict[str, Any]]:
    return [skill.model_dump() for skill in given]
