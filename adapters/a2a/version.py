"""Which protocol version a call speaks (specification §3.6), and which extensions it names.

A version is compared as Major.Minor; a call that names none speaks 0.3.
"""

import re
from typing import Final

from adapters.a2a.errors import METHOD_NOT_FOUND, VERSION_NOT_SUPPORTED, A2AError

CURRENT: Final = "1.0"
LEGACY: Final = "0.3"
"""Also what the absence of a version means."""
SUPPORTED: Final = frozenset({CURRENT, LEGACY})

_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\d{1,6})?")


def negotiate(named: str | None, method: str | None = None) -> str:
    """The version that a call speaks, as Major.Minor.

    `method` is the 1.0 name of the operation on bindings that send names: a caller who uses it without naming
    a version has most likely forgotten the header, and is told so.

    Raises:
        A2AError: VersionNotSupported; or MethodNotFound, as 0.3 has no such method.
    """
    if named == CURRENT:
        return CURRENT
    if not named:
        if method is not None:
            raise A2AError(
                METHOD_NOT_FOUND,
                f"{method} is the 1.0 name, and without A2A-Version this request counts as {LEGACY}. "
                f'Add "A2A-Version: {CURRENT}".',
            )
        return LEGACY
    parsed = _VERSION.fullmatch(named)
    version = f"{int(parsed[1])}.{int(parsed[2])}" if parsed else named
    if version in SUPPORTED:
        return version
    raise A2AError(
        VERSION_NOT_SUPPORTED,
        f'A2A version {version[:20]!r} is not supported here. Add "A2A-Version: {CURRENT}".',
        metadata={"supportedVersions": ",".join(sorted(SUPPORTED))},
    )


def extensions(named: str | None) -> frozenset[str]:
    """The extension URIs of an `A2A-Extensions` value. Unknown ones are harmless."""
    return (
        frozenset(uri for uri in (part.strip() for part in named.split(",")) if uri) if named else frozenset()
    )
