"""`crossdock approvals`, `agents` and `events`: what waits for people, who works here, what happens."""

from typing import Any

import click

from hub.cli.frame import ExampleGroup, ExampleHelp, output_options
from hub.cli.output import Output
from hub.cli.remote import ask, columns, fields, found, hub_options, short
from hub.cli.watching import told, watch

_APPROVAL = ("id", "kind", "title", "status", "subject", "task_id", "workflow_id", "feedback", "requested_at")


@click.group(
    cls=ExampleGroup,
    examples="crossdock approvals list\ncrossdock approvals approve 7c1d",
)
def approvals() -> None:
    """List, show and decide what waits for people."""


async def _whole(hub: Any, given: str) -> str:
    async def known() -> Any:
        return [approval.raw for approval in (await hub.approvals.list(per_page=100)).items]

    return await found(given, known, "approval")


@approvals.command("list", cls=ExampleHelp, examples="crossdock approvals list --json")
@hub_options
@output_options
def list_approvals(out: Output, url: str | None) -> None:
    """List what is pending, newest first."""
    page = ask(url, lambda hub: hub.approvals.list(per_page=100))
    records = [short(out, approval.raw) for approval in page.items]
    shown = columns("id", "kind", "title", "status", "requested_at")
    out.records(records, shown, empty="Nothing waits for you.")


@approvals.command("show", cls=ExampleHelp, examples="crossdock approvals show 7c1d")
@click.argument("approval")
@hub_options
@output_options
def show_approval(out: Output, approval: str, url: str | None) -> None:
    """Show what exactly is asked."""

    async def asking(hub: Any) -> Any:
        return (await hub.approvals.get(await _whole(hub, approval))).raw

    fields(out, ask(url, asking), *_APPROVAL)


def _deciding(name: str, action: str, line: str, *, needs_why: bool) -> None:
    @approvals.command(name, cls=ExampleHelp, help=line, examples=f"crossdock approvals {name} 7c1d")
    @click.argument("approval")
    @click.option("--why", required=needs_why, metavar="TEXT", help="What whoever asked should know.")
    @hub_options
    @output_options
    def decide(out: Output, approval: str, why: str | None, url: str | None) -> None:
        async def asking(hub: Any) -> Any:
            return await hub.approvals.decide(await _whole(hub, approval), action=action, feedback=why)

        decided = ask(url, asking)
        out.record(decided.raw, f"{decided.id}  {decided.status}", answer=decided.status)


_deciding("approve", "approve", "Allow it.", needs_why=False)
_deciding("reject", "reject", "Refuse it.", needs_why=True)
_deciding("request-changes", "request_changes", "Send it back to be done again.", needs_why=True)


@click.group(cls=ExampleGroup, examples="crossdock agents list")
def agents() -> None:
    """List who works here."""


@agents.command("list", cls=ExampleHelp, examples="crossdock agents list --json")
@hub_options
@output_options
def list_agents(out: Output, url: str | None) -> None:
    """List agents, newest first."""
    page = ask(url, lambda hub: hub.agents.list(per_page=100))
    records = [{**agent.raw, "tags": " ".join(agent.raw["routing_tags"])} for agent in page.items]
    shown = columns("id", "name", "protocol", "status", "active_tasks", "tags", "last_heartbeat_at")
    empty = "There are no agents. Make one: crossdock worker --exec 'CMD'"
    out.records([short(out, record) for record in records], shown, empty=empty)


@click.group(cls=ExampleGroup, examples="crossdock events list\ncrossdock events watch --type task.created")
def events() -> None:
    """Read and follow the event log."""


@events.command("list", cls=ExampleHelp, examples="crossdock events list --limit 20")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many.")
@click.option("--type", "kinds", multiple=True, metavar="TYPE", help="Only of this type. Repeatable.")
@hub_options
@output_options
def list_events(out: Output, limit: int, kinds: tuple[str, ...], url: str | None) -> None:
    """The newest events, oldest first."""
    page = ask(url, lambda hub: hub.events.list(limit=limit, event_type=list(kinds) or None))
    newest = [*reversed(page.items)]
    if out.as_json:
        out.json([dict(event.raw) for event in newest])
    for event in () if out.as_json else newest:
        out.line(told(event))


@events.command("watch", cls=ExampleHelp, examples="crossdock events watch --json")
@click.option("--type", "kinds", multiple=True, metavar="TYPE", help="Only of this type. Repeatable.")
@hub_options
@output_options
def watch_events(out: Output, kinds: tuple[str, ...], url: str | None) -> None:
    """Follow the log from now on, until Ctrl-C."""
    ask(url, lambda hub: watch(out, hub.events.stream(event_type=list(kinds) or None)))
