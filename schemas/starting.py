"""What a schedule or a trigger starts: a task, or a workflow from a playbook, with templates in its texts.

Templates are paths (`schemas/templates.py`). What they may name depends on what starts it; it is filled in,
and then read again, when it is started.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas import templates
from schemas.approval_policy import ApprovalPolicy, PrincipalId
from schemas.validation import InvalidSchema, check_schema
from schemas.vocabulary import Priority

_Short = Annotated[str, StringConstraints(min_length=1, max_length=120)]
_Tags = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=255)]], Field(max_length=64)]


class _Piece(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TaskStart(_Piece):
    """A task to be made."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    description: Annotated[str, StringConstraints(max_length=5000)] | None = None
    type: _Short = "custom"
    priority: Annotated[Priority, Field(strict=False)] = Priority.NORMAL
    role: _Short | None = None
    input: Any = None
    context: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    required_tags: _Tags | None = None
    required_tools: _Tags = []
    timeout_minutes: Annotated[int, Field(ge=1, le=240)] | None = None
    requires_approval: bool = False
    approval_policy: ApprovalPolicy | None = None
    output_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """A schema that outputs can be checked against.

        Raises:
            ValueError: it is none.
        """
        if self.output_schema is not None:
            try:
                check_schema(self.output_schema)
            except InvalidSchema as error:
                raise ValueError(f"output_schema {error}") from error
        return self


class WorkflowStart(_Piece):
    """A workflow to be made."""

    playbook_id: PrincipalId
    workspace_id: PrincipalId
    name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    parameters: dict[str, str] = {}
    inputs: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Start(_Piece):
    """Either a task or a workflow."""

    task: TaskStart | None = None
    workflow: WorkflowStart | None = None

    @model_validator(mode="after")
    def _either(self) -> Self:
        """One of both.

        Raises:
            ValueError: none, or both.
        """
        if (self.task is None) == (self.workflow is None):
            raise ValueError("say either task or workflow")
        return self


def check_paths(start: Mapping[str, Any], roots: Collection[str]) -> None:
    """Whether every template begins with something that will be there.

    Raises:
        ValueError: one does not, or is no path.
    """
    for path, reference in templates.references(start):
        if reference.root not in roots:
            known = ", ".join(sorted(roots))
            raise ValueError(f"{path}: {{{{ {reference.text} }}}}: a path begins with one of {known}")
