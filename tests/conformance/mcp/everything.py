"""A server of the official Python SDK with what the conformance suite wants to find: give it a port.

It speaks every revision; with `--legacy` it refuses the modern one, as servers did before it, and with
`--compat` it speaks HTTP+SSE. Where a client has sessions it asks over the wire, else in results.
"""

import asyncio
import hashlib
import hmac
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import mcp_types as types
import uvicorn
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

Context = ServerRequestContext[Any, Any]
Result = Mapping[str, Any]
MODERN: Final = "2026-07-28"
IMAGE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
AUDIO: Final = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="
NOTHING: Final[dict[str, Any]] = {"type": "object", "properties": {}}
SECRET: Final = b"what this server signs its states with"
BUS: Final = InMemorySubscriptionBus()


def text(said: str) -> dict[str, Any]:
    """Text as content."""
    return {"type": "text", "text": said}


def embedded(uri: str, mime_type: str, said: str) -> dict[str, Any]:
    """A resource as content."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": said}}


def form(message: str, **properties: Any) -> dict[str, Any]:
    """A question with a form."""
    schema = {"type": "object", "properties": properties, "required": [*properties]}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sampling(said: str) -> dict[str, Any]:
    """A question to a model."""
    message = {"role": "user", "content": text(said)}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}}


ROOTS: Final[dict[str, Any]] = {"method": "roots/list", "params": {}}
STRING: Final = {"type": "string"}


def signed(state: str) -> str:
    """A state that nobody else can make."""
    return f"{state}.{hmac.digest(SECRET, state.encode(), hashlib.sha256).hex()}"


def checked(state: str | None) -> str:
    """What a state says.

    Raises:
        MCPError: it is not one of ours.
    """
    said, _, _ = (state or "").rpartition(".")
    if state is None or not hmac.compare_digest(signed(said), state):
        raise MCPError(code=-32602, message="requestState was changed")
    return said


Asked = Mapping[str, Mapping[str, Any]]


def content(asked: Asked, key: str) -> Mapping[str, Any] | None:
    """What was filled into a form, if it was."""
    response = asked.get(key)
    found = response.get("content") if isinstance(response, Mapping) else None
    return found if isinstance(found, Mapping) else None


def wants(requests: Mapping[str, Any], state: str | None = None) -> Result:
    """A result that asks."""
    said: dict[str, Any] = {"resultType": "input_required", "inputRequests": dict(requests)}
    return said if state is None else {**said, "requestState": signed(state)}


async def elicited(ctx: Context, message: str, schema: dict[str, Any], word: str) -> Result:
    """Ask over the wire."""
    answer = await ctx.session.elicit_form(message, schema, ctx.request_id)
    said = json.dumps(answer.content or {})
    return {"content": [text(f"{word}: action={answer.action}, content={said}")]}


async def simple(ctx: Context, params: Any) -> Result:
    return {"content": [text("This is a simple text response for testing.")]}


async def image(ctx: Context, params: Any) -> Result:
    return {"content": [{"type": "image", "data": IMAGE, "mimeType": "image/png"}]}


async def audio(ctx: Context, params: Any) -> Result:
    return {"content": [{"type": "audio", "data": AUDIO, "mimeType": "audio/wav"}]}


async def embeds(ctx: Context, params: Any) -> Result:
    said = "This is an embedded resource content."
    return {"content": [embedded("test://embedded-resource", "text/plain", said)]}


async def mixed(ctx: Context, params: Any) -> Result:
    one, two = text("Multiple content types test:"), {"type": "image", "data": IMAGE, "mimeType": "image/png"}
    three = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return {"content": [one, two, three]}


async def fails(ctx: Context, params: Any) -> Result:
    return {"content": [text("This tool intentionally returns an error for testing")], "isError": True}


async def logs(ctx: Context, params: Any) -> Result:
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", said, "everything", ctx.request_id)
        await asyncio.sleep(0.02)
    return {"content": [text("logged")]}


async def progresses(ctx: Context, params: Any) -> Result:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
        await asyncio.sleep(0.02)
    return {"content": [text("done")]}


async def samples(ctx: Context, params: Any) -> Result:
    message = types.SamplingMessage(
        role="user", content=types.TextContent(type="text", text=params["prompt"])
    )
    answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return {"content": [text(f"LLM response: {getattr(answer.content, 'text', '')}")]}


async def elicits(ctx: Context, params: Any) -> Result:
    properties = {"username": {**STRING, "description": "User's response"}, "email": STRING}
    schema = {"type": "object", "properties": properties, "required": ["username", "email"]}
    return await elicited(ctx, params["message"], schema, "User response")


async def defaults(ctx: Context, params: Any) -> Result:
    properties = {
        "name": {**STRING, "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {**STRING, "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    schema = {"type": "object", "properties": properties, "required": []}
    return await elicited(ctx, "Please review", schema, "Elicitation completed")


async def enums(ctx: Context, params: Any) -> Result:
    def titled(*names: str) -> list[dict[str, str]]:
        return [{"const": f"value{n}", "title": name} for n, name in enumerate(names, 1)]

    plain = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {**STRING, "enum": plain},
        "titledSingle": {**STRING, "oneOf": titled("First Option", "Second Option", "Third Option")},
        "legacyEnum": {
            **STRING,
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {**STRING, "enum": plain}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": titled("First Choice", "Second Choice", "Third Choice")},
        },
    }
    schema = {"type": "object", "properties": properties, "required": []}
    return await elicited(ctx, "Please choose", schema, "Elicitation completed")


async def reconnects(ctx: Context, params: Any) -> Result:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
        await asyncio.sleep(0.1)
    return {"content": [text("Reconnection test completed successfully.")]}


async def needs_capability(ctx: Context, params: Any) -> Result:
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(code=-32021, message="Missing required client capability", data=data)
    return {"content": [text("capable")]}


async def asks_name(ctx: Context, params: Any) -> Result:
    given = content(params["inputResponses"], "user_name")
    if given is None:
        return wants({"user_name": form("What is your name?", name=STRING)})
    return {"content": [text(f"Hello, {given.get('name')}!")]}


async def asks_model(ctx: Context, params: Any) -> Result:
    given = params["inputResponses"].get("capital_question")
    if given is None:
        return wants({"capital_question": sampling("What is the capital of France?")})
    return {"content": [text(str(given.get("content", {}).get("text")))]}


async def asks_roots(ctx: Context, params: Any) -> Result:
    given = params["inputResponses"].get("client_roots")
    if given is None:
        return wants({"client_roots": ROOTS})
    return {"content": [text(json.dumps(given.get("roots")))]}


async def asks_with_state(ctx: Context, params: Any) -> Result:
    if content(params["inputResponses"], "confirm") is None:
        return wants({"confirm": form("Please confirm", ok={"type": "boolean"})}, "one")
    return {"content": [text(f"state-ok {checked(params['requestState'])}")]}


async def asks_much(ctx: Context, params: Any) -> Result:
    requests = {
        "user_name": form("What is your name?", name=STRING),
        "greeting": sampling("Generate a greeting"),
        "client_roots": ROOTS,
    }
    if not requests.keys() <= params["inputResponses"].keys():
        return wants(requests, "many")
    checked(params["requestState"])
    return {"content": [text("all there")]}


async def asks_twice(ctx: Context, params: Any) -> Result:
    state = None if params["requestState"] is None else checked(params["requestState"])
    if state is None:
        return wants({"step1": form("Step 1: What is your name?", name=STRING)}, "one")
    if state == "one":
        return wants({"step2": form("Step 2: What is your favorite color?", color=STRING)}, "two")
    return {"content": [text("both steps")]}


async def asks_what_it_may(ctx: Context, params: Any) -> Result:
    declared = ctx.session.client_capabilities
    requests: dict[str, Any] = {}
    if declared is not None and declared.sampling is not None:
        requests["said"] = sampling("Say something")
    if declared is not None and declared.elicitation is not None:
        requests["name"] = form("What is your name?", name=STRING)
    if not requests or params["inputResponses"]:
        return {"content": [text("done")]}
    return wants(requests)


async def changes_tools(ctx: Context, params: Any) -> Result:
    await BUS.publish(ToolsListChanged())
    return {"content": [text("changed")]}


async def region(ctx: Context, params: Any) -> Result:
    return {"content": [text(str(params.get("region")))]}


Tool = Callable[[Context, Any], Awaitable[Result]]
PROMPTED: Final = {"type": "object", "properties": {"prompt": STRING}, "required": ["prompt"]}
MESSAGED: Final = {"type": "object", "properties": {"message": STRING}, "required": ["message"]}
REGION: Final = {"type": "object", "properties": {"region": {**STRING, "x-mcp-header": "Region"}}}
SCHEMA_2020: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": STRING, "city": STRING},
        }
    },
    "properties": {
        "name": STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {**STRING, "enum": ["phone", "email"]},
        "phone": STRING,
        "email": STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
TOOLS: Final[Mapping[str, tuple[Tool, dict[str, Any]]]] = {
    "test_simple_text": (simple, NOTHING),
    "test_image_content": (image, NOTHING),
    "test_audio_content": (audio, NOTHING),
    "test_embedded_resource": (embeds, NOTHING),
    "test_multiple_content_types": (mixed, NOTHING),
    "test_error_handling": (fails, NOTHING),
    "test_tool_with_logging": (logs, NOTHING),
    "test_logging_tool": (logs, NOTHING),
    "test_tool_with_progress": (progresses, NOTHING),
    "test_sampling": (samples, PROMPTED),
    "test_elicitation": (elicits, MESSAGED),
    "test_elicitation_sep1034_defaults": (defaults, NOTHING),
    "test_elicitation_sep1330_enums": (enums, NOTHING),
    "test_reconnection": (reconnects, NOTHING),
    "test_missing_capability": (needs_capability, NOTHING),
    "test_streaming_elicitation": (asks_name, NOTHING),
    "test_trigger_tool_change": (changes_tools, NOTHING),
    "test_input_required_result_elicitation": (asks_name, NOTHING),
    "test_input_required_result_sampling": (asks_model, NOTHING),
    "test_input_required_result_list_roots": (asks_roots, NOTHING),
    "test_input_required_result_request_state": (asks_with_state, NOTHING),
    "test_input_required_result_multiple_inputs": (asks_much, NOTHING),
    "test_input_required_result_multi_round": (asks_twice, NOTHING),
    "test_input_required_result_tampered_state": (asks_with_state, NOTHING),
    "test_input_required_result_capabilities": (asks_what_it_may, NOTHING),
    "json_schema_2020_12_tool": (simple, SCHEMA_2020),
    "test_header": (region, REGION),
}
RESOURCES: Final[Mapping[str, dict[str, Any]]] = {
    "test://static-text": {
        "mimeType": "text/plain",
        "text": "This is the content of the static text resource.",
    },
    "test://static-binary": {"mimeType": "image/png", "blob": IMAGE},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watched resource content"},
}
PROMPTS: Final[Mapping[str, list[str]]] = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}


async def list_tools(ctx: Context, params: Any) -> Any:
    tools = [{"name": n, "description": n, "inputSchema": schema} for n, (_, schema) in TOOLS.items()]
    return {"tools": tools}


async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> Any:
    found = TOOLS.get(params.name)
    if found is None:
        raise MCPError(code=-32602, message=f"Unknown tool: {params.name}")
    return await found[0](ctx, {**(params.arguments or {}), **said_again(params)})


def said_again(params: Any) -> dict[str, Any]:
    """What comes with a request that is made again."""
    plain = params.model_dump(by_alias=True, mode="json", exclude_none=True)
    return {"inputResponses": plain.get("inputResponses", {}), "requestState": plain.get("requestState")}


async def list_resources(ctx: Context, params: Any) -> Any:
    return {"resources": [{"uri": u, "name": u, "mimeType": c["mimeType"]} for u, c in RESOURCES.items()]}


async def list_templates(ctx: Context, params: Any) -> Any:
    template = {"uriTemplate": "test://template/{id}/data", "name": "data", "mimeType": "application/json"}
    return {"resourceTemplates": [template]}


async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> Any:
    uri = str(params.uri)
    found = RESOURCES.get(uri)
    if uri.startswith("test://template/"):
        number = uri.split("/")[3]
        said = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
        found = {"mimeType": "application/json", "text": said}
    if found is None:
        code = -32602 if ctx.protocol_version == MODERN else -32002
        raise MCPError(code=code, message="Resource not found", data={"uri": uri})
    return {"contents": [{"uri": uri, **found}]}


async def list_prompts(ctx: Context, params: Any) -> Any:
    def shown(name: str, arguments: list[str]) -> dict[str, Any]:
        required = [{"name": one, "required": True} for one in arguments]
        return {"name": name, "description": name, "arguments": required}

    return {"prompts": [shown(name, arguments) for name, arguments in PROMPTS.items()]}


async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> Any:
    given: Mapping[str, str] = params.arguments or {}
    says: list[dict[str, Any]]
    if params.name == "test_simple_prompt":
        says = [text("This is a simple prompt for testing.")]
    elif params.name == "test_prompt_with_arguments":
        says = [text(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'")]
    elif params.name == "test_prompt_with_embedded_resource":
        one = embedded(given.get("resourceUri", ""), "text/plain", "Embedded resource content for testing.")
        says = [one, text("Please process the embedded resource above.")]
    elif params.name == "test_prompt_with_image":
        says = [
            {"type": "image", "data": IMAGE, "mimeType": "image/png"},
            text("Please analyze the image above."),
        ]
    elif params.name == "test_input_required_result_prompt":
        context = content(said_again(params)["inputResponses"], "user_context")
        if context is None:
            return wants({"user_context": form("What context should the prompt use?", context=STRING)})
        says = [text(f"With {context.get('context')}")]
    else:
        raise MCPError(code=-32602, message=f"Unknown prompt: {params.name}")
    return {"messages": [{"role": "user", "content": one} for one in says]}


async def complete(ctx: Context, params: Any) -> Any:
    return {"completion": {"values": ["paris", "park"], "total": 2, "hasMore": False}}


async def nothing(ctx: Context, params: Any) -> Any:
    return {}


Handler = Callable[[Context, Any], Awaitable[Any]]


def told(handler: Handler, *, kept: bool = False) -> Handler:
    """A handler whose results say what results say in the client's era; `kept`: how long, too."""

    async def tells(ctx: Context, params: Any) -> Any:
        result = await handler(ctx, params)
        if ctx.protocol_version != MODERN:
            return result
        hints = {"ttlMs": 1_000, "cacheScope": "public"} if kept and "inputRequests" not in result else {}
        return {"resultType": "complete", **hints, **result}

    return tells


def made() -> Server[Any]:
    """The server."""
    return Server(
        "everything",
        version="1.0.0",
        instructions="Everything that a test could want.",
        on_list_tools=told(list_tools, kept=True),
        on_call_tool=told(call_tool),
        on_list_resources=told(list_resources, kept=True),
        on_list_resource_templates=told(list_templates, kept=True),
        on_read_resource=told(read_resource, kept=True),
        on_subscribe_resource=nothing,
        on_unsubscribe_resource=nothing,
        on_subscriptions_listen=ListenHandler(BUS),
        on_list_prompts=told(list_prompts, kept=True),
        on_get_prompt=told(get_prompt),
        on_completion=told(complete),
        on_set_logging_level=nothing,
        get_tool_input_schema=lambda name: TOOLS[name][1] if name in TOOLS else None,
    )


class HandshakeOnly:
    """In front of a server of both eras: refuses what only the modern one has, as older servers do."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        if headers.get(b"mcp-protocol-version", b"").startswith(b"2026"):
            body = b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request"}}'
            said = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": said})
            await send({"type": "http.response.body", "body": body})
        else:
            await self._app(scope, receive, send)


def sse_app(server: Server[Any]) -> Starlette:
    """The server over HTTP+SSE (2024-11-05), at the same address."""
    transport = SseServerTransport("/messages/")

    async def connected(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as streams:
            await server.run(streams[0], streams[1], server.create_initialization_options())
        return Response()

    async def nothing_here(request: Request) -> Response:
        return Response(status_code=405)

    return Starlette(
        routes=[
            Route("/mcp", connected, methods=["GET"]),
            Route("/mcp", nothing_here, methods=["POST", "DELETE"]),
            Mount("/messages/", app=transport.handle_post_message),
        ]
    )


def main(port: int, *, legacy: bool, compat: bool) -> None:
    """Serve until the process ends."""
    serving: Any = made().streamable_http_app()
    if legacy:
        serving = HandshakeOnly(serving)
    elif compat:
        serving = sse_app(made())
    # h11: the other parser keeps blanks at the end of header values, which the SDK then takes for a mismatch.
    uvicorn.run(serving, host="127.0.0.1", port=port, log_level="warning", http="h11")


if __name__ == "__main__":
    main(int(sys.argv[1]), legacy="--legacy" in sys.argv, compat="--compat" in sys.argv)
