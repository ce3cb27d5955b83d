"""Content blocks and parts: the same things in two vocabularies. Pure.

What one has and the other lacks travels in the part's `metadata.acp`, so that a block comes back as it was.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.acp.errors import invalid

Block = dict[str, Any]
Part = dict[str, Any]

KEPT: Final = "acp"
"""The key of a part's metadata that holds the rest of its block."""


def parts_of(blocks: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The parts of a prompt that was checked.

    Raises:
        RpcError: something that must be base64 is not.
    """
    return [_part(f"prompt[{index}]", block) for index, block in enumerate(blocks)]


def text_of(blocks: Sequence[Mapping[str, Any]]) -> str:
    """What a prompt says in words: its texts, and the names of what it refers to."""
    said: list[str] = []
    for block in blocks:
        if block["type"] == "text":
            said.append(block["text"])
        elif block["type"] == "resource_link":
            said.append(block["uri"])
        elif block["type"] == "resource" and type(block["resource"].get("text")) is str:
            said.append(block["resource"]["text"])
    return "\n".join(said)


def _part(field: str, block: Mapping[str, Any]) -> Part:
    kind = block["type"]
    rest = {name: value for name, value in block.items() if name not in ("text", "data", "uri", "resource")}
    if kind == "text":
        part: Part = {"text": block["text"]}
    elif kind in ("image", "audio"):
        part = {"raw": _base64(f"{field}.data", block["data"]), "media_type": block["mimeType"][:255]}
        if type(block.get("uri")) is str:
            rest["uri"] = block["uri"]
    elif kind == "resource_link":
        part = {"url": block["uri"][:8192], "filename": block["name"][:1024]}
        if type(block.get("mimeType")) is str:
            part["media_type"] = block["mimeType"][:255]
        if len(block["uri"]) > 8192:
            rest["uri"] = block["uri"]
    else:
        held = block["resource"]
        part = (
            {"text": held["text"]}
            if type(held.get("text")) is str
            else {"raw": _base64(f"{field}.resource.blob", held["blob"])}
        )
        part["filename"] = held["uri"][:1024]
        if type(held.get("mimeType")) is str:
            part["media_type"] = held["mimeType"][:255]
        rest["resource"] = {n: v for n, v in held.items() if n not in ("text", "blob")}
    if rest != {"type": "text"}:
        part["metadata"] = {KEPT: rest}
    return part


def _base64(field: str, text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(field, "must be base64") from None
    return text


def blocks_of(parts: Sequence[Mapping[str, Any]]) -> list[Block]:
    """The parts of a message, an artifact or an output as blocks."""
    return [_block(part) for part in parts]


def _block(part: Mapping[str, Any]) -> Block:
    metadata = part.get("metadata")
    kept = metadata.get(KEPT) if isinstance(metadata, Mapping) else None
    if isinstance(kept, Mapping) and isinstance(kept.get("type"), str):
        return _restored(part, kept)
    if isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    name, media_type = part.get("filename"), part.get("media_type") or "application/octet-stream"
    if isinstance(part.get("url"), str):
        link = {"type": "resource_link", "uri": part["url"], "name": name or part["url"]}
        return {**link, "mimeType": part["media_type"]} if part.get("media_type") else link
    if isinstance(part.get("raw"), str):
        if media_type.startswith(("image/", "audio/")):
            return {"type": media_type[:5], "data": part["raw"], "mimeType": media_type}
        uri = f"attachment:{name or 'file'}"
        return {"type": "resource", "resource": {"uri": uri, "mimeType": media_type, "blob": part["raw"]}}
    return {"type": "text", "text": as_text(part.get("data"))}


def _restored(part: Mapping[str, Any], kept: Mapping[str, Any]) -> Block:
    block = dict(kept)
    kind = kept["type"]
    if kind == "text":
        block["text"] = part["text"]
    elif kind in ("image", "audio"):
        block["data"] = part["raw"]
    elif kind == "resource_link":
        block.setdefault("uri", part["url"])
    else:
        content = {"text": part["text"]} if "text" in part else {"blob": part["raw"]}
        block["resource"] = {**kept.get("resource", {}), **content}
    return block


def as_text(value: Any) -> str:
    """Any value for a reader of text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def output_blocks(output: Any) -> list[Block]:
    """The output of a task whose executor said nothing on the way."""
    if isinstance(output, Mapping) and isinstance(output.get("text"), str):
        output = output["text"]
    return [] if output in (None, "") else [{"type": "text", "text": as_text(output)}]
