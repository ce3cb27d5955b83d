"""Roles: specialists, what they may use, and whom they ask."""

from typing import Any

from core import roles as core
from core.roles import Role, RoleId
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import playbooks as v1
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope

_NULLABLE = ("description", "system_prompt", "verification_strategy", "escalation_target")


@route(
    "GET",
    "/config/roles",
    scope=Scope.ADMIN,
    returns=list[v1.Role],
    summary="List roles",
    operation_id="roles_list",
)
async def list_roles(call: Call) -> Reply:
    """The tenant's roles, by name."""
    return Reply([role(item) for item in await call.read(core.list_roles, None)])


@route(
    "POST",
    "/config/roles",
    scope=Scope.ADMIN,
    body=v1.RoleCreate,
    returns=v1.Role,
    status=201,
    errors=(409,),
    summary="Create a role",
    operation_id="roles_create",
    example={
        "name": "reviewer",
        "system_prompt": "You review changes.",
        "allowed_tools": ["shell"],
        "escalation_target": "human",
    },
)
async def create_role(call: Call, body: v1.RoleCreate) -> Reply:
    """A task with this role goes to agents that offer the tag `role:<name>`."""
    said = {"name": body.name, **_said(body)}
    return Reply(role(await call.write(core.create_role, core.CreateRole(**said))))


@route(
    "GET",
    "/config/roles/{id}",
    scope=Scope.ADMIN,
    returns=v1.Role,
    errors=(404,),
    summary="Read a role",
    operation_id="roles_get",
)
async def get_role(call: Call) -> Reply:
    """One role of the tenant."""
    return Reply(role(await call.read(core.get_role, RoleId(call.id))))


@route(
    "PUT",
    "/config/roles/{id}",
    scope=Scope.ADMIN,
    body=v1.RolePut,
    returns=v1.Role,
    errors=(404, 409),
    summary="Change a role",
    operation_id="roles_update",
    example={"max_escalation_depth": 3},
)
async def put_role(call: Call, body: v1.RolePut) -> Reply:
    """Its version grows."""
    changes = _said(body)
    if body.name is not None:
        changes["name"] = body.name
    return Reply(role(await call.write(core.change_role, core.ChangeRole(call.id, changes))))


@route(
    "DELETE",
    "/config/roles/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Remove a role",
    operation_id="roles_delete",
)
async def delete_role(call: Call) -> Reply:
    """What was made with its name keeps the name."""
    await call.write(core.remove_role, RoleId(call.id))
    return Reply()


def _said(body: v1.RoleFields) -> dict[str, Any]:
    sent = body.model_fields_set - {"request_id", "name"}
    said = {name: getattr(body, name) for name in sent}
    return {name: value for name, value in said.items() if value is not None or name in _NULLABLE}


def role(value: Role) -> v1.Role:
    """A role."""
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "name": value.name,
        "description": value.description,
        "system_prompt": value.system_prompt,
        "allowed_tools": list(value.allowed_tools),
        "mcp_server_ids": list(value.mcp_server_ids),
        "verification_strategy": value.verification_strategy,
        "escalation_target": value.escalation_target,
        "max_escalation_depth": value.max_escalation_depth,
        "is_active": value.is_active,
        "version": value.version,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }
