"""What a server says about what it offers, made comparable: one hash for what a model or a policy goes by.

What changes without meaning anything to them (`_meta`, icons) is left out of the hash.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from core.mcp.words import ItemKind

_TOLD: Final[Mapping[ItemKind, Sequence[str]]] = {
    ItemKind.TOOL: (
        "name", "title", "description", "inputSchema", "outputSchema", "annotations", "execution",
    ),
    ItemKind.PROMPT: ("name", "title", "description", "arguments"),
    ItemKind.TEMPLATE: ("uriTemplate", "name", "title", "description", "mimeType", "annotations"),
    ItemKind.RESOURCE: ("uri", "name", "title", "description", "mimeType", "annotations"),
    ItemKind.INSTRUCTIONS: ("text",),
}  # fmt: skip
_UNSEEN: Final = frozenset({"Cf", "Co", "Cn"})
"""Unicode categories of what does not show: formats (bidirectional ones too), private use, unassigned."""
_MOST_DIFFERENCES: Final = 100


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One thing that a server was found to offer."""

    kind: ItemKind
    name: str
    definition: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON of what counts."""
        told = {key: self.definition[key] for key in _TOLD[self.kind] if key in self.definition}
        try:
            canonical = rfc8785.dumps(told)
        except rfc8785.CanonicalizationError:  # numbers that JSON can say and JCS cannot
            canonical = json.dumps(told, sort_keys=True).encode()
        return hashlib.sha256(canonical).hexdigest()

    @property
    def flags(self) -> list[str]:
        """What a reader should look at twice."""
        text = json.dumps(self.definition, ensure_ascii=False)
        unseen = sorted({char for char in text if unicodedata.category(char) in _UNSEEN})
        return [f"invisible character U+{ord(char):04X}" for char in unseen[:10]]


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """JSON pointers of what is not the same in two values, at most a hundred."""
    if type(before) is dict and type(after) is dict:
        found: list[str] = []
        for key in sorted({*before, *after}):
            inner = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in before or key not in after:
                found.append(inner)
            else:
                found += differences(before[key], after[key], inner)
            if len(found) >= _MOST_DIFFERENCES:
                break
        return found[:_MOST_DIFFERENCES]
    return [] if before == after and type(before) is type(after) else [path]
