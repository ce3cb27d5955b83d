"""Reading a playbook's definition: checked as a whole, so that what is stored can run.

Beyond what the JSON Schema says, every name leads somewhere: roles, dependencies, parameters, and the paths
in templates (`schemas/templates.py`). What is wrong is told with its place and, where one is near, a guess.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from schemas import templates
from schemas.approval_policy import ApprovalPolicy, Deciders
from schemas.playbook import (
    MAX_TASKS,
    Board,
    Column,
    Definition,
    FanOut,
    Gate,
    Orchestrator,
    Parameter,
    RetryPolicy,
    Stage,
    TaskTemplate,
    When,
)
from schemas.validation import InvalidSchema, check_schema
from schemas.vocabulary import Lifecycle

MAX_ISSUES: Final = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a definition."""

    path: str
    """JSON Pointer into it."""
    message: str


class InvalidDefinition(ValueError):
    """The definition is not accepted."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)[:MAX_ISSUES]
        first = self.problems[0]
        super().__init__(f"{first.path or '/'}: {first.message}")


def read_definition(given: Mapping[str, Any]) -> Definition:
    """The definition, when all is well with it.

    Raises:
        InvalidDefinition: it is not; `problems` say where and what.
    """
    try:
        definition = Definition.model_validate(given)
    except ValidationError as error:
        raise InvalidDefinition([_problem(found) for found in error.errors(include_url=False)]) from None
    problems = [
        *_names(definition),
        *_board(definition.board),
        *(
            problem
            for index, stage in enumerate(definition.stages)
            for problem in _stage(definition, index, stage)
        ),
        *_order(definition),
        *_paths(definition),
    ]
    if problems:
        raise InvalidDefinition(problems)
    return definition


def _problem(found: Any) -> Problem:
    path = "".join(f"/{part}" for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return Problem(path, f"there is no such key{_meant(found['loc'])}")
    return Problem(path, str(found["msg"]).removeprefix("Value error, "))


_PIECES: Final[Mapping[str, type[BaseModel]]] = {
    "board": Board, "columns": Column, "stages": Stage, "tasks": TaskTemplate, "parameters": Parameter,
    "orchestrator": Orchestrator, "gate": Gate, "fan_out": FanOut, "when": When, "retry_policy": RetryPolicy,
    "approval_policy": ApprovalPolicy, "deciders": Deciders,
}  # fmt: skip


def _meant(loc: tuple[str | int, ...]) -> str:
    piece: type[BaseModel] = Definition
    for part in loc[:-1]:
        piece = _PIECES.get(str(part), piece)
    near = difflib.get_close_matches(str(loc[-1]), piece.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _twice(names: Sequence[str], path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Problem(path.replace("*", str(index)), f"{name!r} is there twice")
        seen.add(name)


def _names(definition: Definition) -> Iterator[Problem]:
    yield from _twice([stage.name for stage in definition.stages], "/stages/*/name")
    yield from _twice([p.slug for p in definition.parameters], "/parameters/*/slug")
    yield from _twice([column.id for column in definition.board.columns], "/board/columns/*/id")
    yield from _twice(definition.roles, "/roles/*")
    seen: set[str] = set()
    for at, stage in enumerate(definition.stages):
        for index, task in enumerate(stage.tasks):
            if task.name in seen:
                yield Problem(f"/stages/{at}/tasks/{index}/name", f"there is another task {task.name!r}")
            seen.add(task.name)
    if len(seen) > MAX_TASKS:
        yield Problem("/stages", f"has {len(seen)} tasks; at most {MAX_TASKS} are possible")


def _board(board: Board) -> Iterator[Problem]:
    columns = {column.id: column for column in board.columns}
    for flag in ("is_blocked", "is_terminal"):
        if sum(getattr(column, flag) for column in board.columns) > 1:
            yield Problem("/board/columns", f"at most one column may be {flag}")
    entry = columns.get(board.entry)
    if entry is None:
        yield Problem("/board/entry_column_id", f"there is no column {board.entry!r}")
    elif entry.is_blocked or entry.is_terminal:
        yield Problem("/board/entry_column_id", "the entry is neither the blocked nor the terminal column")


def _stage(definition: Definition, at: int, stage: Stage) -> Iterator[Problem]:
    known = set(definition.roles)
    for index, role in enumerate(stage.involves):
        if known and role not in known:
            yield Problem(f"/stages/{at}/involves/{index}", f"{role!r} is none of the playbook's roles")
    if stage.gate is not None and definition.lifecycle is Lifecycle.ONGOING:
        yield Problem(f"/stages/{at}/gate", "an ongoing playbook has no gates")
    mine = {task.name for task in stage.tasks}
    for index, name in enumerate(stage.gate.rework if stage.gate else ()):
        if name not in mine:
            yield Problem(f"/stages/{at}/gate/rework/{index}", f"{name!r} is no task of this stage")
    for index, task in enumerate(stage.tasks):
        here = f"/stages/{at}/tasks/{index}"
        if task.role is not None and known and task.role not in known:
            yield Problem(f"{here}/role", f"{task.role!r} is none of the playbook's roles")
        elif task.role is not None and stage.involves and task.role not in stage.involves:
            yield Problem(f"{here}/role", f"the stage does not involve {task.role!r}")
        if task.output_schema is not None:
            try:
                check_schema(task.output_schema)
            except InvalidSchema as error:
                yield Problem(f"{here}/output_schema{error.path}", f"the schema {error.message}")


def _order(definition: Definition) -> Iterator[Problem]:
    """Every dependency exists, lies in no later stage, and leads round in no circle."""
    earlier: set[str] = set()
    everything = {task.name for _, task in definition.templates}
    for at, stage in enumerate(definition.stages):
        mine = {task.name: task for task in stage.tasks}
        for index, task in enumerate(stage.tasks):
            for place, name in enumerate(task.depends_on):
                here = f"/stages/{at}/tasks/{index}/depends_on/{place}"
                if name not in everything:
                    near = difflib.get_close_matches(name, everything, n=1)
                    yield Problem(
                        here, f"there is no task {name!r}" + (f"; did you mean {near[0]}?" if near else "")
                    )
                elif name not in mine and name not in earlier:
                    yield Problem(here, f"{name!r} is in a later stage")
        if circle := _circle(mine):
            yield Problem(f"/stages/{at}/tasks", f"depend on one another in a circle: {' → '.join(circle)}")
        earlier |= mine.keys()


def _circle(tasks: Mapping[str, TaskTemplate]) -> list[str]:
    waiting = {name: {d for d in task.depends_on if d in tasks} for name, task in tasks.items()}
    after: dict[str, list[str]] = {}
    for name, needs in waiting.items():
        for need in needs:
            after.setdefault(need, []).append(name)
    free = [name for name, needs in waiting.items() if not needs]
    while free:
        done = free.pop()
        del waiting[done]
        for name in after.get(done, ()):
            waiting[name].discard(done)
            if not waiting[name]:
                free.append(name)
    if not waiting:
        return []
    walked = [next(iter(waiting))]
    while walked.count(walked[-1]) < 2:
        walked.append(min(waiting[walked[-1]]))
    return walked[walked.index(walked[-1]) :]


GATE_WORDS: Final = frozenset({"answer", "feedback", "status"})
WORKFLOW_WORDS: Final = frozenset({"id", "name", "attempt_number", "workspace_id"})


def _paths(definition: Definition) -> Iterator[Problem]:
    """Every template is a path that begins somewhere, and names only what is done by then."""
    slugs = {parameter.slug for parameter in definition.parameters}
    fanned = {task.name for _, task in definition.templates if task.fan_out is not None}
    earlier: set[str] = set()
    gates: set[str] = set()
    for at, stage in enumerate(definition.stages):
        mine = {task.name: task for task in stage.tasks}
        for index, task in enumerate(stage.tasks):
            here = f"/stages/{at}/tasks/{index}"
            known = earlier | {*task.depends_on}
            own = set() if task.fan_out is None else {task.fan_out.item, "index"}
            for key, value in _filled(task):
                local = set() if key in ("/when", "/fan_out/over") else own
                yield from _lead(value, f"{here}{key}", slugs, known, fanned, local, gates)
        earlier |= mine.keys()
        gates |= {stage.name} if stage.gate is not None else set()
    yield from _lead(definition.output, "/output", slugs, earlier, fanned, set(), gates)


def _filled(task: TaskTemplate) -> Iterator[tuple[str, Any]]:
    yield "/title", task.title
    yield "/description", task.description
    yield "/input", task.input
    yield "/context", task.context
    yield "/metadata", task.metadata
    if task.when is not None:
        yield "/when", {"value": task.when.value}
    if task.fan_out is not None:
        yield "/fan_out/over", task.fan_out.over


def _lead(
    value: Any,
    here: str,
    slugs: set[str],
    known: set[str],
    fanned: set[str],
    own: set[str],
    gates: set[str],
) -> Iterator[Problem]:
    try:
        found = list(templates.references(value, here))
    except templates.BadTemplate as error:
        path, _, message = str(error).partition(": ")
        yield Problem(path, message)
        return
    for path, reference in found:
        first = reference.steps[0] if reference.steps else None
        said = f"{{{{ {reference.text} }}}}"
        if reference.root in own:
            continue
        if reference.root == "parameters":
            if first is not None and first not in slugs:
                yield Problem(path, f"{said}: there is no parameter {first!r}")
        elif reference.root == "workflow":
            if first not in WORKFLOW_WORDS:
                yield Problem(path, f"{said}: a workflow has {', '.join(sorted(WORKFLOW_WORDS))}")
        elif reference.root == "inputs":
            continue
        elif reference.root == "gates":
            if first not in gates:
                yield Problem(path, f"{said}: {first!r} is no gate that is decided by then")
            elif len(reference.steps) < 2 or reference.steps[1] not in GATE_WORDS:
                yield Problem(path, f"{said}: of a gate there is {', '.join(sorted(GATE_WORDS))}")
        elif reference.root != "tasks":
            roots = ", ".join(sorted({"parameters", "tasks", "gates", "workflow", "inputs", *own}))
            yield Problem(path, f"{said}: a path begins with one of {roots}")
        elif first not in known:
            yield Problem(path, f"{said}: {first!r} is no task that is done by then; depend on it")
        else:
            words: set[templates.Step] = {"outputs" if first in fanned else "output", "state"}
            if len(reference.steps) < 2 or reference.steps[1] not in words:
                yield Problem(path, f"{said}: of {first!r} there is {' and '.join(sorted(map(str, words)))}")
