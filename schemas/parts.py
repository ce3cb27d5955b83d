"""Parts: the pieces of a message, an artifact or an input request, the same on every face.

A part is a plain dict with exactly one of `text`, `data`, `url` and `raw`. What has no counterpart in a
protocol travels in its `metadata`. Core carries parts unopened; they are checked here, once, on the way in.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

CONTENTS: Final = ("text", "data", "url", "raw")
"""Exactly one of these keys says what a part holds."""
MAX_PARTS: Final = 1_000


@with_config(
    ConfigDict(
        extra="forbid",
        strict=True,
        title="Part",
        use_attribute_docstrings=True,
        json_schema_extra={"oneOf": [{"required": [name]} for name in CONTENTS]},
    )
)
class PartFields(TypedDict, total=False):
    """One piece of content: exactly one of `text`, `data`, `url` and `raw`."""

    text: str
    """Plain text, or text of `media_type`."""
    data: Any
    """Any JSON value."""
    url: Annotated[str, StringConstraints(min_length=1, max_length=8192)]
    """Where the content is; the hub never fetches it."""
    raw: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
    """Bytes in base64 (RFC 4648 §4, padded)."""
    media_type: Annotated[str, StringConstraints(max_length=255)] | None
    """What the content is, for example `text/markdown`."""
    filename: Annotated[str, StringConstraints(max_length=1024)] | None
    """A name to show; never a path to write to."""
    metadata: dict[str, Any] | None
    """Whatever else belongs to the part."""


class BadPart(ValueError):
    """A part does not hold exactly one content, or its base64 is broken."""


def base64_text(text: str) -> str:
    """The text, which is base64.

    Raises:
        BadPart: it is not.
    """
    try:
        base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one
        raise BadPart("should be base64 (RFC 4648, padded)") from None
    return text


def whole(part: dict[str, Any]) -> dict[str, Any]:
    """The part without its empty optional fields.

    Raises:
        BadPart: none or several of `text`, `data`, `url`, `raw`; or `raw` is not base64.
    """
    held = [name for name in CONTENTS if name in part]
    if len(held) != 1:
        found = " and ".join(held) or "none"
        raise BadPart(f"a part holds exactly one of text, data, url and raw, this one {found}")
    if held[0] == "raw":
        base64_text(part["raw"])
    if None in part.values():
        return {name: value for name, value in part.items() if value is not None or name == "data"}
    return part


Part = Annotated[PartFields, AfterValidator(whole)]
Parts = Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS)]

_parts: TypeAdapter[list[Part]] = TypeAdapter(Parts)


def checked(parts: object) -> list[dict[str, Any]]:
    """The parts, checked; for faces that translate into them by themselves.

    Raises:
        BadPart: what is wrong with which part.
    """
    try:
        return [dict(part) for part in _parts.validate_python(parts)]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BadPart(f"{where}: {first['msg']}" if where else first["msg"]) from None


def text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    """The text parts, one per line."""
    return "\n".join(part["text"] for part in parts if "text" in part)
