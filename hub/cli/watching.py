"""Following a task or a workflow as it moves, line by line; Ctrl-C leaves the work alone."""

from collections.abc import AsyncIterator
from typing import Any

from hub.cli.output import Output

_QUIET = ("task.assigned",)


async def watch(out: Output, events: AsyncIterator[Any]) -> None:
    """Print each event as it comes: with `--json` as the API says it, one on a line."""
    async for event in events:
        if out.as_json:
            out.json(dict(event.raw))
        elif event.type not in _QUIET:
            out.line(told(event))
        out.flush()


def told(event: Any) -> str:
    """One event as a line: when, what, and of what."""
    data = event.data
    at = str(event.raw["created_at"])[11:19]
    what = event.type
    if "to_state" in data:
        before = data.get("from_state")
        what = f"{event.raw['entity_type']} {before + ' → ' if before else ''}{data['to_state']}"
    about = data.get("title") or data.get("stage_name") or data.get("name") or ""
    entity = str(event.raw.get("entity_id") or "")[-12:]
    return f"{at}  {what:<40} {('…' + entity) if entity else '':<14} {about}".rstrip()
