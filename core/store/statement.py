"""Statements that are compiled once per dialect and then cost a dictionary look-up.

A `Statement` is written as SQLAlchemy Core and run on the bare driver. Bind and result processors come from
the column types; literals inside a statement stay bound values. Nothing here opens a connection.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as insert
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler

CALLER_BINDS = frozenset(
    {
        "caller_tenant",
        "caller_principal",
        "caller_operator",
        "caller_wide",
        "caller_exposure",
        "caller_scope",
    }
)
"""Bind names that every transaction fills in from its caller."""

NUMBER = "execution_number"
"""The column by which the results of one program's many executions are told apart."""

DIALECTS: Mapping[str, sa.Dialect] = {
    "sqlite": SQLiteDialect_pysqlite(),
    "postgresql": cast(Any, PGDialect_asyncpg)(),
}

_Process = Callable[[Any], Any] | None
_Layout = tuple[str, Sequence[tuple[str, int | None]]]


class Row(tuple[Any, ...]):
    """One result row: columns by attribute, or unpacked in order.

    A column that needs decoding is decoded at each access, so that unused ones cost nothing: keep what is
    used twice.
    """

    __slots__ = ()
    _columns: tuple[str, ...] = ()
    _decoders: tuple[Callable[[Any], Any] | None, ...] = ()
    _plans: ClassVar[dict[tuple[str, ...], list[tuple[int, str, Callable[[Any], Any] | None]]]] = {}
    """How `pick` reads rows of this type."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self._columns)

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={getattr(self, name)!r}' for name in self._columns)})"

    def pick(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Some columns by name, decoded. Quicker than one by one for many; `names` is a constant."""
        kind = type(self)
        plan = kind._plans.get(names)
        if plan is None:
            at = {name: index for index, name in enumerate(kind._columns)}
            plan = kind._plans[names] = [(at[name], name, kind._decoders[at[name]]) for name in names]
        return {name: self[index] if decode is None else decode(self[index]) for index, name, decode in plan}

    def as_dict(self) -> dict[str, Any]:
        """All columns by name."""
        return {name: getattr(self, name) for name in self._columns}


def _row_type(columns: Sequence[tuple[str, _Process]]) -> type[Row]:
    def getter(index: int, process: _Process) -> Callable[[Any], Any]:
        if process is None:
            return itemgetter(index)
        decode = process
        return lambda row: decode(tuple.__getitem__(row, index))

    body: dict[str, Any] = {
        "__slots__": (),
        "_columns": tuple(name for name, _ in columns),
        "_decoders": tuple(process for _, process in columns),
        "_plans": {},
    }
    for index, (name, process) in enumerate(columns):
        body[name] = property(getter(index, process))
    return type("Row", (Row,), body)


class Program:
    """A construct compiled for one dialect: SQL text, order of arguments, type of rows."""

    def __init__(self, construct: sa.Executable, dialect: sa.Dialect, *, reusable: bool = False) -> None:
        """Compile. A `reusable` program takes even the literals of its construct anew at each call."""
        if isinstance(construct, sa.Insert) and not construct._returning:  # else keys would be fetched back
            construct = construct.inline()
        compiled = cast(SQLCompiler, cast(Any, construct).compile(dialect=dialect))
        if any(getattr(compiled, kind, None) for kind in ("insert_prefetch", "update_prefetch")):
            raise TypeError(f"column defaults are not run here, state the value: {compiled}")
        self.compiled = compiled
        self._construct = construct
        self._dialect = dialect
        self._reusable = reusable
        self.sql = compiled.string
        self.binds: dict[str, sa.BindParameter[Any]] = {}
        for bind, name in compiled.bind_names.items():
            known = self.binds.get(name)
            if known is None or isinstance(known.type, sa.types.NullType):
                self.binds[name] = bind
        self._processors = {name: self._bind_processor(bind, dialect) for name, bind in self.binds.items()}
        self._defaults: dict[str, Any] = {
            name: bind.effective_value for name, bind in self.binds.items() if not bind.required
        }
        literals = set() if reusable else {name for name in self._defaults if self.binds[name].unique}
        expanding = dict.fromkeys(name for name in compiled.positiontup or () if self.binds[name].expanding)
        # An IN list of literals has a known length and is spelled out now; others are when their length is
        # known.
        self._expanding = () if literals.issuperset(expanding) else tuple(expanding)
        self._layouts: OrderedDict[tuple[int, ...], _Layout] = OrderedDict()
        self._template: list[Any] = []
        self._fill: list[tuple[int, str, _Process]] = []
        if not self._expanding:
            self.sql, order = self._lay_out({name: len(self._defaults[name]) for name in expanding})
            for index, (name, at) in enumerate(order):
                self._template.append(None)
                process = self._processors[name]
                if name in literals:
                    value = self._defaults[name] if at is None else self._defaults[name][at]
                    self._template[index] = value if process is None else process(value)
                else:
                    self._fill.append((index, name, process))
            named = {name for _, name, _ in self._fill}
            self._defaults = {name: value for name, value in self._defaults.items() if name in named}
        self._plain = not self._expanding and not self._defaults and CALLER_BINDS.isdisjoint(self.binds)
        columns = (
            dict(cast(Any, construct).exported_columns.items())
            if hasattr(construct, "exported_columns")
            else {}
        )
        self.returns = bool(columns)
        """Whether it has a result."""
        self.row_type = _row_type(
            [(name, self._result_processor(column.type, dialect)) for name, column in columns.items()]
        )
        self.writes = _writes(construct)
        """Whether it may change anything. A statement of plain text is taken to."""
        nested = any(getattr(cte.element, "is_dml", False) for cte in _ctes(construct))
        self.tells_all_it_writes = bool(getattr(construct, "is_dml", False)) and not nested
        """Whether no rows, or a row count of nought, proves that it changed nothing."""
        lock = getattr(construct, "_for_update_arg", None)
        self.locks = lock is not None and not lock.skip_locked
        """Whether it waits for rows that others hold."""

    @cached_property
    def numbered(self) -> "Program | None":
        """The same statement with `NUMBER` bound, and given back as the last column of each row it touches.

        None where that cannot be said: plain text, a union, an ad-hoc construct.
        """
        number = sa.bindparam(NUMBER, type_=sa.Integer()).label(NUMBER)
        if self._reusable:
            return None
        if isinstance(self._construct, sa.Select):
            return Program(self._construct.add_columns(number), self._dialect)
        if isinstance(self._construct, sa.Insert | sa.Update | sa.Delete):
            return Program(self._construct.returning(number), self._dialect)
        return None

    @staticmethod
    def _bind_processor(bind: sa.BindParameter[Any], dialect: sa.Dialect) -> _Process:
        return bind.type.dialect_impl(dialect).bind_processor(dialect)

    @staticmethod
    def _result_processor(column_type: Any, dialect: sa.Dialect) -> _Process:
        process = column_type.dialect_impl(dialect).result_processor(dialect, None)
        return cast(_Process, process)

    def bind(self, params: Mapping[str, Any], implicit: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """SQL and arguments for one execution. Names that the statement does not have are ignored.

        Raises:
            TypeError: a value is missing.
        """
        values = params if self._plain else {**self._defaults, **implicit, **params}
        try:
            if self._expanding:
                return self._bind_expanded(values)
            arguments = self._template.copy()
            for index, name, process in self._fill:
                value = values[name]
                arguments[index] = value if process is None else process(value)
        except KeyError as missing:
            raise TypeError(f"no value for {missing} in: {self.sql}") from None
        return self.sql, arguments

    def _bind_expanded(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        lengths = tuple(len(values[name]) for name in self._expanding)
        layout = self._layouts.get(lengths)
        if layout is None:
            layout = self._layouts[lengths] = self._lay_out(dict(zip(self._expanding, lengths, strict=True)))
            if len(self._layouts) > 64:
                self._layouts.popitem(last=False)
        arguments = []
        for name, at in layout[1]:
            process = self._processors[name]
            value = values[name] if at is None else values[name][at]
            arguments.append(value if process is None else process(value))
        return layout[0], arguments

    def _lay_out(self, lengths: Mapping[str, int]) -> "_Layout":
        """The SQL text for lists of these lengths, and for each argument its name and place in its list."""
        if not lengths:
            return self.compiled.string, [(name, None) for name in self.compiled.positiontup or ()]
        shape = {name: [None] * lengths[name] if name in lengths else None for name in self.binds}
        state = self.compiled.construct_expanded_state(shape)
        place = {
            part: (name, index)
            for name, parts in state.parameter_expansion.items()
            for index, part in enumerate(parts)
        }
        return state.statement, [place.get(name, (name, None)) for name in state.positiontup or ()]


def _ctes(construct: sa.Executable) -> list[sa.CTE]:
    return [element for element in visitors.iterate(cast(Any, construct)) if isinstance(element, sa.CTE)]


def _writes(construct: sa.Executable) -> bool:
    if getattr(construct, "is_dml", False) or isinstance(construct, sa.TextClause):
        return True
    return any(getattr(cte.element, "is_dml", False) for cte in _ctes(construct))


class Statement:
    """A statement with a name's worth of identity: made once at import, compiled on first use per dialect.

    Where the databases need different SQL, give a function of the dialect's name (`sqlite`, `postgresql`).
    `insert` of this module writes `ON CONFLICT` for both of them.
    """

    __slots__ = ("_programs", "source")

    def __init__(self, source: sa.Executable | Callable[[str], sa.Executable]) -> None:
        self.source = source
        self._programs: dict[str, Program] = {}

    def construct(self, dialect: str) -> sa.Executable:
        """The Core construct for that dialect."""
        return self.source if isinstance(self.source, sa.Executable) else self.source(dialect)

    def program(self, dialect: str) -> Program:
        """The compiled form."""
        program = self._programs.get(dialect)
        if program is None:
            program = self._programs[dialect] = Program(self.construct(dialect), DIALECTS[dialect])
        return program


Query = Statement | sa.Executable


class ProgramCache:
    """Programs of ad-hoc constructs, found again by their shape; bounded."""

    def __init__(self, dialect: str, *, limit: int = 512) -> None:
        self._dialect = dialect
        self._limit = limit
        self._known: OrderedDict[Any, tuple[Program, Sequence[sa.BindParameter[Any]]]] = OrderedDict()

    def resolve(self, query: Query, params: dict[str, Any]) -> tuple[Program, dict[str, Any]]:
        """The program of a statement, and the values of its literals together with `params`."""
        if isinstance(query, Statement):
            return query.program(self._dialect), params
        # What a write sets is bound anew when it is compiled: a known program could not be told other values.
        shape = None if getattr(query, "is_dml", False) else cast(Any, query)._generate_cache_key()
        if shape is None:
            return Program(query, DIALECTS[self._dialect]), params
        entry = self._known.get(shape.key)
        if entry is None:
            entry = self._known[shape.key] = (
                Program(query, DIALECTS[self._dialect], reusable=True),
                shape.bindparams,
            )
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        program, first = entry
        names = program.compiled.bind_names
        literals = {
            names[original]: present.effective_value
            for original, present in zip(first, shape.bindparams, strict=True)
            if original in names and not present.required
        }
        return program, {**literals, **params}
