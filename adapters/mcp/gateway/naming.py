"""How what many servers offer is called in one list: `slug__name`, and addresses that stay as they are.

Names fit the narrowest rule there is (`[A-Za-z0-9_-]`, 64 characters: models' own). One that does not fit is
cut, and ends with a digest of what it was, so that it is always the same. An address that two servers have is
told apart by its server, `hub+slug:address`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapters.mcp import shown
from core.gateway.catalogue import Reached
from core.mcp.records import Item

MOST: Final = 64
_BETWEEN: Final = "__"
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")
_WRAPPED: Final = re.compile(r"hub\+([a-z0-9-]+):(.*)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\{([+#]?)[^{}]*\}")


def outer(slug: str, name: str) -> str:
    """What a server's tool or prompt is called among those of others."""
    plain = f"{slug}{_BETWEEN}{name}"
    fit = _UNFIT.sub("_", plain)
    if fit == plain and len(fit) <= MOST:
        return fit
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{fit[: MOST - 9]}_{digest}"


def split(name: str) -> tuple[str, str] | None:
    """Slug and name of what is called so, unless it had to be cut; None for what is none of a server's."""
    slug, between, rest = name.partition(_BETWEEN)
    return (slug, rest) if between and slug and rest else None


def is_cut(name: str) -> bool:
    """Whether a name may stand for a longer one, or for one with other characters."""
    return re.search(r"_[0-9a-f]{8}$", name) is not None


@dataclass(frozen=True)
class Part:
    """One server of the whole, and the addresses that it offers."""

    reached: Reached
    resources: Sequence[Item]
    templates: Sequence[Item]

    @property
    def slug(self) -> str:
        """What its names begin with."""
        return self.reached.server.slug


class Addresses:
    """Which address is whose."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = {part.slug: part for part in parts}
        every = Counter(item.name for part in parts for item in (*part.resources, *part.templates))
        self._shared = {uri for uri, count in every.items() if count > 1}

    def outer(self, slug: str, uri: str) -> str:
        """What an address of a server is here."""
        shared = uri in self._shared or uri.startswith(shown.TASK_URI) or _WRAPPED.fullmatch(uri) is not None
        return f"hub+{slug}:{uri}" if shared else uri

    def inner(self, uri: str) -> tuple[Part, str] | None:
        """The server of an address, and what it calls it; None when it is nobody's, or more than one's."""
        wrapped = _WRAPPED.fullmatch(uri)
        if wrapped is not None and wrapped[1] in self._parts:
            return self._parts[wrapped[1]], wrapped[2]
        for owners in (self._listing(uri), self._fitting(uri)):
            if len(owners) == 1:
                return owners[0], uri
        return None

    def _listing(self, uri: str) -> list[Part]:
        return [
            part
            for part in self._parts.values()
            if any(item.name == uri for item in (*part.resources, *part.templates))
        ]

    def _fitting(self, uri: str) -> list[Part]:
        return [part for part in self._parts.values() if any(fits(t.name, uri) for t in part.templates)]


def fits(template: str, uri: str) -> bool:
    """Whether an address may be one of a template's (RFC 6570, as far as one can tell without the values)."""
    pattern, at = "", 0
    for variable in _VARIABLE.finditer(template):
        pattern += re.escape(template[at : variable.start()]) + (".+" if variable[1] else "[^/]+")
        at = variable.end()
    return re.fullmatch(pattern + re.escape(template[at:]), uri) is not None
