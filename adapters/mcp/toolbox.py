"""What a tool is: a name, a model of its arguments, a type of its result, and a coroutine between them.

Schemas are made from the models once. Whatever a tool refuses, it refuses in a result that a model can read
and act on (`isError`), since only a call that names no tool at all is a fault of the protocol.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from adapters.mcp import wire
from adapters.mcp.config import McpConfig
from adapters.mcp.errors import McpError, invalid
from adapters.mcp.exchange import Call, Result
from core.caller import Caller
from core.errors import HubError, Invalid, Unauthenticated, Unavailable
from core.platform import Platform
from schemas.strict_json import dump_json

M = TypeVar("M", bound="Arguments")

Key = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
Wait = Annotated[int, Field(ge=0, le=300)]
"""Seconds that a call may wait."""


class Arguments(BaseModel):
    """The arguments of a tool. What it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Repeatable(Arguments):
    """Arguments of a call that may be sent twice and happens once."""

    request_id: Key | None = None
    """Your own key for this call: a repeat with the same key and arguments gets the first result."""


@dataclass(frozen=True)
class Bench:
    """What a tool works with: the platform, and the call that it serves."""

    platform: Platform
    config: McpConfig
    call: Call
    replay_key: str | None

    @property
    def caller(self) -> Caller:
        """Who calls, with all that its credential allows, as over REST."""
        return replace(self.call.caller, full=True, replay_key=self.replay_key)

    @property
    def reader(self) -> Caller:
        """The same, for what is repeatable by nature."""
        return replace(self.call.caller, full=True)

    @property
    def owner(self) -> Caller:
        """The same, seeing only what it submitted itself, as MCP tasks are seen."""
        return replace(self.call.caller, replay_key=self.replay_key)

    def progress(self, done: int, said: str) -> None:
        """Tell the client how far this call is, where it wants to hear of it."""
        token = self.call.progress_token
        if token is not None:
            told = {"progressToken": token, "progress": done, "message": said}
            self.call.notify("notifications/progress", told)


Answers = Callable[[Bench, Any], Awaitable[Mapping[str, Any] | Result]]


class Instead(Exception):
    """The call is answered by a result of another type, such as a task."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


@dataclass(frozen=True)
class Tool:
    """One tool."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    returns: Any
    answers: Answers
    hints: Mapping[str, bool]

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of what it returns."""
        return TypeAdapter(self.returns).json_schema(mode="serialization")

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        return self.arguments.model_json_schema()

    def shown(self, version: str) -> dict[str, Any]:
        """The tool as `tools/list` says it in that revision."""
        said: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "inputSchema": self.input_schema,
            "annotations": {"title": self.title, **self.hints},
        }
        if version in wire.STRUCTURED_SINCE:
            said |= {"title": self.title, "outputSchema": self.output_schema}
        return said

    async def call(self, platform: Platform, config: McpConfig, call: Call, arguments: Any) -> Result:
        """The result of a call of this tool.

        Raises:
            HubError: what no other arguments would change.
        """
        try:
            asked = self.arguments.model_validate(arguments)
            bench = Bench(platform, config, call, getattr(asked, "request_id", None))
            said = await self.answers(bench, asked)
        except ValidationError as error:
            return refused("VALIDATION_ERROR", _problems(error))
        except Instead as other:
            return other.result
        except (Unauthenticated, Unavailable):
            raise
        except HubError as error:
            hint = f" {error.hint}" if error.hint else ""
            return refused(error.code.value, f"{error.message}.{hint}", error.details)
        return result(call.version, cast(dict[str, Any], said))


def tool(
    title: str,
    *,
    returns: Any,
    read_only: bool = False,
    destructive: bool = False,
    idempotent: bool = False,
) -> Callable[[Callable[[Bench, M], Awaitable[Any]]], Tool]:
    """Make a tool of a coroutine. Its name, its docstring and the type of its arguments are the tool's."""

    def made(answers: Callable[[Bench, M], Awaitable[Any]]) -> Tool:
        return Tool(
            name=answers.__name__,
            title=title,
            description=" ".join((answers.__doc__ or "").split()),
            arguments=answers.__annotations__["asked"],
            returns=returns,
            answers=answers,
            hints={
                "readOnlyHint": read_only,
                "destructiveHint": destructive,
                "idempotentHint": idempotent,
                "openWorldHint": False,
            },
        )

    return made


def result(version: str, said: dict[str, Any]) -> Result:
    """A tool's result: as text for every client, and structured for those that know how."""
    text = {"content": [{"type": "text", "text": dump_json(said).decode()}]}
    return {**text, "structuredContent": said, "isError": False} if version in wire.STRUCTURED_SINCE else text


def refused(code: str, message: str, details: Mapping[str, Any] | None = None) -> Result:
    """A tool's refusal."""
    told: Result = {"content": [{"type": "text", "text": f"{code}: {message}"}], "isError": True}
    told["_meta"] = {"crossdock/error": {"code": code, "details": dict(details or {})}}
    return told


def _problems(error: ValidationError) -> str:
    said = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False)[:8]:
        where = ".".join(str(step) for step in problem["loc"])
        said.append(f"{where}: {problem['msg']}" if where else problem["msg"])
    return "; ".join(said)


def named(tools: Sequence[Tool], name: object) -> Tool:
    """The tool of that name.

    Raises:
        McpError: there is none.
    """
    for found in tools:
        if found.name == name:
            return found
    raise invalid(f"Unknown tool: {str(name)[:80]}")


def need(condition: bool, message: str) -> None:
    """Pass only arguments that fit together.

    Raises:
        Invalid: they do not.
    """
    if not condition:
        raise Invalid(message)


__all__ = ["Arguments", "Bench", "Instead", "McpError", "Repeatable", "Tool", "named", "need", "tool"]
