"""What a playbook is given, from whatever a caller says: a message, a tool's arguments, a command's words."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.tasks.task import Part
from schemas.playbook import Definition
from schemas.strict_json import dump_json

_PAIR: Final = re.compile(r"""([A-Za-z0-9_-]+)=("[^"]*"|'[^']*'|\S+)""")


def arguments_in(definition: Definition, parts: Sequence[Part]) -> dict[str, Any]:
    """The arguments that a message brings: the members of its data; else `name=value` words of its text; else
    the whole text is what the first parameter without a value wants."""
    found: dict[str, Any] = {}
    for part in parts:
        if isinstance(part.get("data"), Mapping):
            found |= part["data"]
    text = text_of(parts)
    if found or not text:
        return found
    known = {parameter.slug for parameter in definition.parameters}
    pairs = dict(_PAIR.findall(text))
    if pairs and pairs.keys() <= known and not _PAIR.sub("", text).strip():
        return {name: value.strip("\"'") for name, value in pairs.items()}
    wanted = [p for p in definition.parameters if p.required] or list(definition.parameters)
    return {wanted[0].slug: text} if wanted else {}


def parameters_schema(definition: Definition) -> dict[str, Any]:
    """The parameters as JSON Schema, for faces that show what may be given."""
    members: dict[str, Any] = {}
    for parameter in definition.parameters:
        said: dict[str, Any] = {"type": "string", "title": parameter.title}
        if parameter.description:
            said["description"] = parameter.description
        if parameter.default is not None:
            said["default"] = parameter.default
        members[parameter.slug] = said
    required = [p.slug for p in definition.parameters if p.required and p.default is None]
    schema: dict[str, Any] = {"type": "object", "properties": members, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def sorted_out(definition: Definition, given: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Arguments as parameters, which are texts."""
    parameters = {
        name: value if isinstance(value, str) else dump_json(value).decode()
        for name, value in given.items()
        if value is not None
    }
    known = {parameter.slug for parameter in definition.parameters}
    if not known:  # a playbook without parameters takes whatever comes as its input
        return {}, dict(given)
    return parameters, {}


def text_of(parts: Sequence[Part]) -> str:
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str)).strip()
