"""What of a file a browser may show by itself. Everything else is downloaded, and never runs."""

from typing import Final, Literal

Mode = Literal["text", "image", "pdf", "unsupported"]

MOST_SHOWN: Final = 1024 * 1024
"""Bytes of a content that is shown."""
IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
TEXTS: Final = frozenset({"application/json", "application/xml", "application/yaml", "image/svg+xml"})


def shown_as(content_type: str | None) -> Mode:
    """How a content is shown. HTML and SVG are shown as the text that they are."""
    kind = essence(content_type)
    if kind in IMAGES:
        return "image"
    if kind.startswith("text/") or kind in TEXTS or kind.endswith(("+json", "+xml")):
        return "text"
    return "pdf" if kind == "application/pdf" else "unsupported"


def essence(content_type: str | None) -> str:
    """A media type without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()
