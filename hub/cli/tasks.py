"""`crossdock tasks`: create, list, show, watch and cancel tasks."""

import json
from typing import Any

import click

from hub.cli.failure import ExitCode
from hub.cli.frame import ExampleGroup, ExampleHelp, output_options
from hub.cli.output import Output
from hub.cli.remote import ask, columns, fields, found, hub_options, short
from hub.cli.watching import watch

_SHOWN = ("id", "title", "state", "stage_name", "workflow_id", "role", "required_tags", "input", "output",
          "error", "attempt", "created_at", "finished_at")  # fmt: skip


@click.group(
    cls=ExampleGroup,
    examples=(
        "crossdock tasks create shout --input text=hi --watch\n"
        "crossdock tasks list --state in_progress\n"
        "crossdock tasks watch 91c2"
    ),
)
def tasks() -> None:
    """Create, list, show, watch and cancel tasks."""


async def _whole(hub: Any, given: str) -> str:
    async def known() -> Any:
        return [task.raw for task in (await hub.tasks.list(per_page=100)).items]

    return await found(given, known, "task")


@tasks.command("list", cls=ExampleHelp, examples="crossdock tasks list --state failed --json")
@click.option("--state", help="Only those in this state.")
@click.option("--workflow", "workflow_id", metavar="ID", help="Only those of this workflow.")
@hub_options
@output_options
def list_(out: Output, state: str | None, workflow_id: str | None, url: str | None) -> None:
    """List tasks, newest first."""
    wanted = {"state": state, "workflow_id": workflow_id, "per_page": 100}
    page = ask(url, lambda hub: hub.tasks.list(**wanted))
    records = [short(out, task.raw) for task in page.items]
    shown = columns("id", "title", "state", "stage_name", "attempt", "created_at")
    out.records(records, shown, empty="There are no tasks. Make one: crossdock tasks create TITLE")


@tasks.command(cls=ExampleHelp, examples="crossdock tasks show 91c2")
@click.argument("task")
@hub_options
@output_options
def show(out: Output, task: str, url: str | None) -> None:
    """Show one task. The last characters of its id will do."""

    async def asking(hub: Any) -> Any:
        return (await hub.tasks.get(await _whole(hub, task))).raw

    fields(out, ask(url, asking), *_SHOWN)


@tasks.command("watch", cls=ExampleHelp, examples="crossdock tasks watch 91c2")
@click.argument("task")
@hub_options
@output_options
def watch_(out: Output, task: str, url: str | None) -> int:
    """Follow a task until it is final. Ctrl-C leaves it alone."""
    return _watched(out, url, task)


@tasks.command(cls=ExampleHelp, examples="crossdock tasks create shout --input text=hi --tag writing --watch")
@click.argument("title")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Of its input. Repeatable.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="What its executor must offer. Repeatable.")
@click.option("--watch", "watching", is_flag=True, help="Follow it until it is final.")
@hub_options
@output_options
def create(
    out: Output,
    title: str,
    inputs: tuple[str, ...],
    tags: tuple[str, ...],
    watching: bool,
    url: str | None,
) -> int:
    """Submit a task."""
    given = dict(text.partition("=")[::2] for text in inputs)
    more: dict[str, Any] = {"required_tags": list(tags)} if tags else {}
    made = ask(url, lambda hub: hub.tasks.create(title, input=given or None, **more))
    if watching:
        return _watched(out, url, made.id)
    out.record(made.raw, f"{made.id}  {made.state}", answer=made.id)
    return ExitCode.DONE


@tasks.command(cls=ExampleHelp, examples="crossdock tasks cancel 91c2")
@click.argument("task")
@hub_options
@output_options
def cancel(out: Output, task: str, url: str | None) -> None:
    """Cancel a task."""

    async def asking(hub: Any) -> Any:
        return await hub.tasks.cancel(await _whole(hub, task))

    ended = ask(url, asking)
    out.record(ended.raw, f"{ended.id}  {ended.state}", answer=ended.state)


def _watched(out: Output, url: str | None, task: str) -> int:
    async def asking(hub: Any) -> Any:
        task_id = await _whole(hub, task)
        await watch(out, hub.tasks.follow(task_id))
        return await hub.tasks.get(task_id)

    ended = ask(url, asking)
    if not out.as_json and ended.output is not None:
        out.line(ended.output if isinstance(ended.output, str) else json.dumps(ended.output))
    return ExitCode.DONE if ended.state == "completed" else ExitCode.FAILED
