"""Who decides an approval, how many of them, until when, and what they fill in.

A task, a task of a playbook and a gate may declare it. `core/approval_policy.py` keeps to it.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.validation import InvalidSchema, check_schema
from schemas.vocabulary import Scope

PrincipalId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
    Field(json_schema_extra={"format": "uuid"}),
]
RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.:/-]*$", max_length=120)]


class _Piece(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Deciders(_Piece):
    """Who may decide: whoever one of these names. With none named, the operators, and the submitter where the
    task's policy says so."""

    principals: Annotated[list[PrincipalId], Field(max_length=100)] = []
    roles: Annotated[list[RoleName], Field(max_length=32)] = []
    """Agents that offer the tag `role:<name>`."""
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(max_length=4)] = []
    """Keys of this scope or above."""

    @property
    def any(self) -> bool:
        """Whether anybody is named."""
        return bool(self.principals or self.roles or self.scopes)


class ApprovalPolicy(_Piece):
    """How an approval is decided. Whoever holds the task's lease never decides, whatever is declared."""

    deciders: Deciders = Deciders()
    quorum: Annotated[int, Field(ge=1, le=100)] = 1
    """How many must say the same. The first decision that so many share stands."""
    deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """From when it is asked; then `default` decides."""
    default: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    """What is decided at the deadline: `approve`, `reject`, or the id of an option."""
    form: dict[str, Any] | None = None
    """JSON Schema 2020-12 of the answer that comes with an approval. The next step gets the answer."""
    separation_of_duties: bool = False
    """Whoever asked for it, submitted the task or made the workflow does not decide."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """A policy that can be kept.

        Raises:
            ValueError: it cannot.
        """
        if (self.deadline_seconds is None) != (self.default is None):
            raise ValueError("a deadline needs a default, and a default a deadline")
        named = self.deciders
        alone = bool(named.principals) and not named.roles and not named.scopes
        if alone and self.quorum > len(set(named.principals)):
            raise ValueError("the quorum is larger than the number of deciders")
        if self.form is not None:
            try:
                check_schema(self.form)
            except InvalidSchema as error:
                raise ValueError(f"the form {error}") from error
        return self
