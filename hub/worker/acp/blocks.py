"""What an agent is asked, from the task: content blocks that it says it takes. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.client import Claim

Block = dict[str, Any]

TEXT_CHARACTERS: Final = 256 * 1024
"""Of an output, and of an input that is written out."""
AGAIN: Final = (
    "(You were interrupted while you worked on what follows. "
    "Look at what is done already, and go on from there.)"
)


def prompt_of(claim: Claim) -> list[Block]:
    """The prompt of a turn, word by word; of another task its words, and its input where it has one."""
    given = claim.input
    blocks = given.get("prompt") if isinstance(given, Mapping) else None
    if isinstance(blocks, Sequence) and not isinstance(blocks, str) and blocks:
        return [dict(block) for block in blocks if isinstance(block, Mapping)]
    said = [claim.title, str(claim.raw.get("description") or "")]
    if isinstance(given, Mapping) and isinstance(given.get("text"), str):
        said = [given["text"]] if given["text"].strip() else said
        given = {name: value for name, value in given.items() if name not in ("text", "parts")}
    if given:
        said.append(json.dumps(given, ensure_ascii=False, indent=2)[:TEXT_CHARACTERS])
    return [{"type": "text", "text": "\n\n".join(text for text in said if text)}]


def taken(blocks: Sequence[Block], capabilities: Mapping[str, Any]) -> tuple[list[Block], list[str]]:
    """The blocks in forms that the agent takes, and in words what had to be left out."""
    kept: list[Block] = []
    lost: list[str] = []
    for block in blocks:
        kind = block.get("type")
        if kind in ("image", "audio") and capabilities.get(kind) is not True:
            lost.append(f"{'an' if kind[0] in 'ai' else 'a'} {kind}")
        elif kind == "resource" and capabilities.get("embeddedContext") is not True:
            kept.append(_as_text(block, lost))
        else:
            kept.append(block)
    if not kept:
        kept.append({"type": "text", "text": "(The prompt held nothing that you can read.)"})
    return kept, lost


def _as_text(block: Block, lost: list[str]) -> Block:
    held = block.get("resource")
    held = held if isinstance(held, Mapping) else {}
    uri, text = str(held.get("uri", "")), held.get("text")
    if isinstance(text, str):
        return {"type": "text", "text": f"{uri}:\n\n{text}"}
    lost.append(f"the content of {uri}")
    return {"type": "resource_link", "uri": uri, "name": uri.rpartition("/")[2] or uri}
