"""What an agent writes, as values that the hub can keep. Pure.

The hub refuses what stores choke on: NUL, half of a surrogate pair, NaN. Agents write all of it, in the
output of a tool or where a text was cut in two; so it is replaced, visibly, and nothing else is touched.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from schemas.strict_json import InvalidJson, parse_json

Update: TypeAlias = dict[str, Any]

_UNKEPT: Final = re.compile("[\x00\ud800-\udfff]")
_BLANKS: Final = b" \t\r"


class Noise(Exception):
    """A line that is no message at all, such as what a library prints."""


def read(line: bytes) -> Any:
    """The message in a line.

    Raises:
        Noise: it is none, and nobody meant it as one.
        InvalidJson: it was meant as one.
    """
    if line.lstrip(_BLANKS)[:1] not in (b"{", b"["):
        raise Noise
    try:
        return parse_json(line)
    except InvalidJson as strict:
        try:
            value = json.loads(line.decode(errors="replace"), parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            raise strict from None
        return _mended(value)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _UNKEPT.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_UNKEPT.sub("\ufffd", name): _mended(item) for name, item in value.items()}
    if isinstance(value, float) and not -1.7e308 < value < 1.7e308:
        return None
    return value


def notice(title: str, description: str | None = None, *, severity: str = "warning", **meta: Any) -> Update:
    """Something that the worker says about the turn; clients get it that asked for notices."""
    update: Update = {"sessionUpdate": "notice", "severity": severity, "title": title}
    if description is not None:
        update["description"] = description
    said: Update = {"update": update}
    if meta:
        said["_meta"] = {f"crossdock/{name}": value for name, value in meta.items()}
    return said


def kind_of(said: Mapping[str, Any]) -> str:
    """The kind of an update, as the hub's route takes it."""
    update = said.get("update")
    return str(update.get("sessionUpdate")) if isinstance(update, Mapping) else ""


def text_of(said: Mapping[str, Any]) -> str:
    """What the agent says to the user in an update; empty for everything else."""
    if kind_of(said) != "agent_message_chunk" or "childSessionId" in said:
        return ""
    content = said["update"].get("content")
    text = content.get("text") if isinstance(content, Mapping) and content.get("type") == "text" else None
    return text if isinstance(text, str) else ""
