"""Schemas of an OpenAPI document as JSON Schemas that stand alone: what they refer to goes with them."""

from collections.abc import Mapping
from typing import Any, Final

from adapters.mcp.upstream.openapi.document import BadDocument, at

_MOST: Final = 200
"""Schemas that one schema may need."""
_DEEPEST: Final = 64
_DATA: Final = frozenset({"example", "examples", "default", "enum", "const"})
_LEFT_OUT: Final = frozenset({"example", "xml", "externalDocs", "discriminator"})


class Schemas:
    """Gathers the schemas that a tool needs."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._old = str(document.get("openapi", "")).startswith("3.0.")
        self._names: dict[str, str] = {}
        self.needed: dict[str, Any] = {}
        """The schemas that are referred to, for `$defs`."""

    def standing_alone(self, schema: Any, depth: int = 0) -> Any:
        """A schema whose references lead to `$defs`.

        Raises:
            BadDocument: it refers outside of the document, to nothing, or needs too much.
        """
        if depth > _DEEPEST:
            raise BadDocument("a schema is nested too deeply")
        if type(schema) is list:
            return [self.standing_alone(one, depth + 1) for one in schema]
        if type(schema) is not dict:
            return schema
        if type(schema.get("$ref")) is str:
            return {"$ref": f"#/$defs/{self._carried(schema['$ref'])}"}
        found = {
            key: value if key in _DATA else self.standing_alone(value, depth + 1)
            for key, value in schema.items()
            if key not in _LEFT_OUT and not key.startswith("x-")
        }
        return _modern(found) if self._old else found

    def _carried(self, reference: str) -> str:
        name = self._names.get(reference)
        if name is None:
            name = reference.rsplit("/", 1)[-1]
            plain = (
                "".join(char if char.isalnum() or char in "_-" else "_" for char in name)[:100] or "schema"
            )
            name = plain
            while name in self.needed:
                name = f"{plain}_{len(self.needed)}"
            if len(self.needed) >= _MOST:
                raise BadDocument("a schema needs too many others")
            self._names[reference] = name
            self.needed[name] = {}
            self.needed[name] = self.standing_alone(at(self._document, reference))
        return name


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """What 3.0 says in words of its own, in those of JSON Schema."""
    if schema.pop("nullable", False) is True:
        kind = schema.get("type")
        if type(kind) is str:
            schema["type"] = [kind, "null"]
        if type(schema.get("enum")) is list and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    for limit, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        exclusive = schema.get(limit)
        if type(exclusive) is bool:
            del schema[limit]
            if exclusive and bound in schema:
                schema[limit] = schema.pop(bound)
    return schema
