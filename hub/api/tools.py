"""Tool tags."""

from core import tool_tags as core
from core.tool_tags import ToolTag
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import workspaces as v1
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope


@route(
    "GET",
    "/tools",
    scope=Scope.AGENT,
    returns=list[v1.Tool],
    summary="List tool tags",
    operation_id="tools_list",
)
async def list_tools(call: Call) -> Reply:
    """The tenant's tags, by id."""
    return Reply([_tool(tag) for tag in await call.read(core.list_tags, None)])


@route(
    "POST",
    "/tools",
    scope=Scope.ADMIN,
    body=v1.ToolCreate,
    returns=v1.Tool,
    status=201,
    errors=(409,),
    summary="Create a tool tag",
    operation_id="tools_create",
    example={"id": "shell", "name": "Shell", "category": "code"},
)
async def create_tool(call: Call, body: v1.ToolCreate) -> Reply:
    """A word for a tool, for workspaces and roles to speak of. It grants nothing."""
    command = core.CreateTag(body.id, body.name, body.description, body.category)
    return Reply(_tool(await call.write(core.create_tag, command)))


@route(
    "PATCH",
    "/tools/{tool_id:text}",
    scope=Scope.ADMIN,
    body=v1.ToolPatch,
    returns=v1.Tool,
    errors=(404,),
    summary="Change a tool tag",
    operation_id="tools_update",
    example={"category": "files"},
)
async def patch_tool(call: Call, body: v1.ToolPatch) -> Reply:
    """A field that is not sent stays."""
    changes = {name: getattr(body, name) for name in body.model_fields_set - {"request_id"}}
    if changes.get("name", "") is None:
        del changes["name"]
    command = core.ChangeTag(call.texts["tool_id"], changes)
    return Reply(_tool(await call.write(core.change_tag, command)))


@route(
    "DELETE",
    "/tools/{tool_id:text}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Remove a tool tag",
    operation_id="tools_delete",
)
async def delete_tool(call: Call) -> Reply:
    """What speaks of it keeps the word."""
    await call.write(core.remove_tag, core.TagId(call.texts["tool_id"]))
    return Reply()


def _tool(value: ToolTag) -> v1.Tool:
    return {
        "id": value.tool_id,
        "name": value.name,
        "description": value.description,
        "category": value.category,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }
