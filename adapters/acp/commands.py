"""Exposed playbooks as commands of a session, beside the agent's own: `/name words` runs one as a turn."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.caller import Caller
from core.offered_playbooks import Offered, offered_playbooks
from core.platform import Platform
from schemas.vocabulary import StageStatus

UPDATE: Final = "available_commands_update"
_STATUS: Final = {StageStatus.PENDING.value: "pending", StageStatus.COMPLETED.value: "completed"}


async def with_playbooks(
    platform: Platform, caller: Caller, commands: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The agent's commands, and those playbooks that none of them hides."""
    taken = {command.get("name") for command in commands}
    offered = await platform.read(caller, offered_playbooks, None)
    return [*commands, *(_command(one) for one in offered if one.slug not in taken)]


def _command(offered: Offered) -> dict[str, Any]:
    return {"name": offered.slug, "description": offered.description, "input": {"hint": offered.hint}}


def plan(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The stages of a workflow as a plan."""
    entries = [
        {
            "content": str(stage["stage"]),
            "priority": "medium",
            "status": _STATUS.get(stage["status"], "in_progress"),
        }
        for stage in stages
    ]
    return {"sessionUpdate": "plan", "entries": entries}
