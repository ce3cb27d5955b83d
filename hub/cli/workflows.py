"""`crossdock workflows`: start them, list them, see their boards, watch them, hold and stop them."""

from pathlib import Path
from typing import Any

import click

from hub.cli.failure import ExitCode, Failure
from hub.cli.frame import ExampleGroup, ExampleHelp, output_options
from hub.cli.output import Output
from hub.cli.remote import ask, columns, fields, found, hub_options, short
from hub.cli.watching import watch

_SHOWN = ("id", "name", "state", "current_stage", "lifecycle", "parameters", "output", "failure",
          "attempt_number", "started_at", "completed_at", "created_at")  # fmt: skip


@click.group(
    cls=ExampleGroup,
    examples=(
        "crossdock workflows run playbook.json --name 'fix the login' --param change='fix the login'\n"
        "crossdock workflows list --state active\n"
        "crossdock workflows board 1f03a7"
    ),
)
def workflows() -> None:
    """Start, list, show, watch, hold and stop workflows."""


async def _whole(hub: Any, given: str) -> str:
    async def known() -> Any:
        return (await hub.workflows.list(per_page=100)).items

    return await found(given, known, "workflow")


@workflows.command("list", cls=ExampleHelp, examples="crossdock workflows list --state active --json")
@click.option("--state", help="Only those in this state.")
@hub_options
@output_options
def list_(out: Output, state: str | None, url: str | None) -> None:
    """List workflows, newest first."""
    page = ask(url, lambda hub: hub.workflows.list(state=state, per_page=100))
    records = [short(out, record) for record in page.items]
    shown = columns("id", "name", "state", "current_stage", "created_at")
    out.records(records, shown, empty="There are no workflows. Start one: crossdock workflows run FILE")


@workflows.command(cls=ExampleHelp, examples="crossdock workflows show 1f03a7 --json")
@click.argument("workflow")
@hub_options
@output_options
def show(out: Output, workflow: str, url: str | None) -> None:
    """Show one workflow. The last characters of its id will do."""

    async def asking(hub: Any) -> Any:
        return await hub.workflows.get(await _whole(hub, workflow))

    fields(out, ask(url, asking), *_SHOWN)


@workflows.command(cls=ExampleHelp, examples="crossdock workflows board 1f03a7")
@click.argument("workflow")
@hub_options
@output_options
def board(out: Output, workflow: str, url: str | None) -> None:
    """Show a workflow's board: what waits, what runs, what is done."""

    async def asking(hub: Any) -> Any:
        return await hub.workflows.board(await _whole(hub, workflow))

    found_board = ask(url, asking)
    if out.as_json:
        out.json(found_board)
        return
    items = [
        {**item, "column": column["label"], "tasks": _tasks(item)}
        for column in found_board["columns"]
        for item in column["items"]
    ]
    shown = columns("id", "column", "state", "stage_name", "tasks", "role")
    out.records(items, shown, empty="There is nothing on the board.")


def _tasks(item: Any) -> str:
    done = item["task_counts"].get("completed", 0)
    return f"{done}/{item['total']}"


@workflows.command("watch", cls=ExampleHelp, examples="crossdock workflows watch 1f03a7")
@click.argument("workflow")
@hub_options
@output_options
def watch_(out: Output, workflow: str, url: str | None) -> int:
    """Follow a workflow until it is over. Ctrl-C leaves it alone."""
    return _watched(out, url, workflow)


@workflows.command(
    cls=ExampleHelp,
    examples="crossdock workflows run playbook.json --name 'fix it' --param change=login --watch",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="How the workflow is called. Default: the file's name.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter. Repeatable.")
@click.option("--workspace", default="default", show_default=True, help="The workspace's slug.")
@click.option("--watch", "watching", is_flag=True, help="Follow it until it is over.")
@hub_options
@output_options
def run(
    out: Output,
    file: Path,
    name: str | None,
    params: tuple[str, ...],
    workspace: str,
    watching: bool,
    url: str | None,
) -> int:
    """Start a workflow from a playbook's definition in a file. The playbook is made, or its next version."""
    import json

    slug = "".join(c if c.isalnum() else "-" for c in file.stem.lower()).strip("-") or "playbook"
    parameters = dict(_pair(text) for text in params)
    try:
        definition = json.loads(file.read_text())
    except ValueError as error:
        raise Failure(f"{file} is not JSON: {error}") from error

    async def asking(hub: Any) -> Any:
        place = await hub.playbooks.workspace(workspace)
        known = {book["slug"]: book for book in await hub.playbooks.list()}
        book = known.get(slug)
        if book is None:
            book = await hub.playbooks.create(file.stem, file.stem, definition, slug=slug)
        elif book["definition"] != {"lifecycle": book["lifecycle"], **definition}:
            book = await hub.playbooks.update(book["id"], definition=definition)
        return await hub.workflows.create(book["id"], place["id"], name or file.stem, parameters=parameters)

    made = ask(url, asking)
    if watching:
        return _watched(out, url, made["id"])
    out.record(made, f"{made['id']}  {made['state']}", answer=made["id"])
    return ExitCode.DONE


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--param {text!r} is not of the form NAME=VALUE")
    return name, value


def _watched(out: Output, url: str | None, workflow: str) -> int:
    async def asking(hub: Any) -> Any:
        workflow_id = await _whole(hub, workflow)
        await watch(out, hub.workflows.follow(workflow_id))
        return await hub.workflows.get(workflow_id)

    ended = ask(url, asking)
    out.say(f"{ended['name']} is {ended['state']}.")
    return ExitCode.DONE if ended["state"] == "completed" else ExitCode.FAILED


def _steering(name: str, line: str) -> None:
    @workflows.command(name, cls=ExampleHelp, help=line, examples=f"crossdock workflows {name} 1f03a7")
    @click.argument("workflow")
    @hub_options
    @output_options
    def steer(out: Output, workflow: str, url: str | None) -> None:
        async def asking(hub: Any) -> Any:
            return await getattr(hub.workflows, name)(await _whole(hub, workflow))

        record = ask(url, asking)
        out.record(record, f"{record['id']}  {record['state']}", answer=record["state"])


_steering("pause", "Hold a workflow: what is being done is finished, nothing new begins.")
_steering("resume", "Let a held workflow go on.")
_steering("cancel", "Stop a workflow for good.")
