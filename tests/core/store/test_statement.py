"""Statements are compiled once, bind what their columns need, and give rows by attribute."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa

from core.store.clock import UuidSource
from core.store.statement import DIALECTS, ProgramCache, Statement, insert
from core.store.types import Encoded, Id, Instant, Json

metadata = sa.MetaData()
thing = sa.Table(
    "thing",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("body", Json),
    sa.Column("count", sa.Integer, nullable=False),
)
both = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
AT = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)


@both
def test_a_statement_is_compiled_once(dialect: str) -> None:
    statement = Statement(sa.select(thing.c.id))
    assert statement.program(dialect) is statement.program(dialect)


def test_arguments_are_bound_as_their_columns_want_them() -> None:
    statement = Statement(sa.insert(thing))
    some = uuid4()
    values = {"id": some, "at": AT, "body": {"a": [1, None]}, "count": 3}
    assert statement.program("sqlite").bind(values, {})[1] == [
        some.hex,
        1_795_608_000_123_456,
        '{"a":[1,null]}',
        3,
    ]
    assert statement.program("postgresql").bind(values, {})[1] == [some, AT, '{"a":[1,null]}', 3]


@both
def test_literals_stay_bound_values(dialect: str) -> None:
    program = Statement(sa.select(thing.c.id).where(thing.c.count == 7)).program(dialect)
    assert "7" not in program.sql
    assert program.bind({}, {})[1] == [7]


@both
def test_a_missing_value_is_named(dialect: str) -> None:
    program = Statement(sa.select(thing.c.id).where(thing.c.id == sa.bindparam("which"))).program(dialect)
    with pytest.raises(TypeError, match="no value for 'which'"):
        program.bind({}, {})


@both
def test_names_that_a_statement_does_not_have_are_ignored(dialect: str) -> None:
    program = Statement(sa.select(thing.c.id).where(thing.c.count == sa.bindparam("n"))).program(dialect)
    assert program.bind({"n": 1, "other": 2}, {})[1] == [1]


@both
def test_the_caller_is_bound_where_a_statement_asks_for_it(dialect: str) -> None:
    program = Statement(sa.select(thing.c.id).where(thing.c.count == sa.bindparam("caller_tenant"))).program(
        dialect
    )
    assert program.bind({}, {"caller_tenant": 5, "caller_principal": 6})[1] == [5]


@both
@pytest.mark.parametrize("values", [[], [1], [1, 2, 3]])
def test_lists_expand_to_their_length(dialect: str, values: list[int]) -> None:
    program = Statement(
        sa.select(thing.c.id).where(
            thing.c.at < sa.bindparam("at"), thing.c.count.in_(sa.bindparam("counts", expanding=True))
        )
    ).program(dialect)
    assert program.bind({"at": None, "counts": values}, {})[1] == [None, *values]


@both
def test_literal_lists_are_spelled_out_when_compiled(dialect: str) -> None:
    program = Statement(
        sa.update(thing).values(count=sa.bindparam("to")).where(thing.c.count.in_([4, 5]))
    ).program(dialect)
    assert "POSTCOMPILE" not in program.sql
    assert program.bind({"to": 9}, {})[1] == [9, 4, 5]


@both
def test_ad_hoc_constructs_of_one_shape_share_a_program(dialect: str) -> None:
    cache = ProgramCache(dialect)
    programs = set()
    for count, title in ((1, {"a": 1}), (2, {"a": 2})):
        query = (
            sa.select(thing.c.id).where(thing.c.count == count, thing.c.count.in_([count] * 2)).limit(count)
        )
        program, values = cache.resolve(query, {})
        programs.add(program)
        assert set(program.bind(values, {})[1]) == ({count} if dialect == "postgresql" else {count, 0}), title
    assert len(programs) == 1


def test_rows_decode_their_columns_and_unpack_in_order() -> None:
    program = Statement(sa.select(thing.c.id, thing.c.at, thing.c.body, thing.c.count)).program("sqlite")
    some = uuid4()
    row = tuple.__new__(program.row_type, (some.hex, 1_795_608_000_123_456, '{"a":1}', 3))
    assert (row.id, row.at, row.body) == (some, AT, {"a": 1})
    identity, at, body, count = row
    assert (identity, at, body, count) == (some, AT, {"a": 1}, 3)
    assert row.as_dict() == {"id": some, "at": AT, "body": {"a": 1}, "count": 3}


def test_column_defaults_are_refused_since_nobody_would_run_them() -> None:
    other = sa.Table(
        "other", sa.MetaData(), sa.Column("n", sa.Integer, default=lambda: 1), sa.Column("m", sa.Integer)
    )
    with pytest.raises(TypeError, match="column defaults"):
        Statement(sa.insert(other).values(m=1)).program("sqlite")


@both
def test_one_upsert_serves_both_databases(dialect: str) -> None:
    upsert = insert(thing).on_conflict_do_nothing(index_elements=["id"])
    assert "ON CONFLICT (id) DO NOTHING" in Statement(upsert).program(dialect).sql


@both
def test_what_a_statement_may_change_is_known(dialect: str) -> None:
    select = sa.select(thing.c.id)
    update = sa.update(thing).values(count=1)
    nested = sa.select(update.returning(thing.c.id).cte("changed").c.id)
    assert not Statement(select).program(dialect).writes
    assert Statement(update).program(dialect).writes
    assert Statement(nested).program(dialect).writes
    assert Statement(sa.text("VACUUM")).program(dialect).writes
    assert Statement(update.returning(thing.c.id)).program(dialect).tells_all_it_writes
    assert not Statement(nested).program(dialect).tells_all_it_writes


@both
def test_writes_that_were_made_ad_hoc_set_their_own_values(dialect: str) -> None:
    cache = ProgramCache(dialect)
    for n in (1, 2):
        made = sa.insert(thing).values(id=uuid4(), at=AT, body=None, count=n)
        changed = sa.update(thing).where(thing.c.count == n).values(count=n * 10)
        for query, expected in ((made, [n]), (changed, [n * 10, n])):
            program, params = cache.resolve(query, {})
            _, arguments = program.bind(params, {})
            assert [a for a in arguments if type(a) is int and a < 100] == expected


@both
def test_only_waiting_locks_count_as_locks(dialect: str) -> None:
    assert Statement(sa.select(thing.c.id).with_for_update()).program(dialect).locks
    assert not Statement(sa.select(thing.c.id).with_for_update(skip_locked=True)).program(dialect).locks


def test_json_that_is_encoded_already_is_taken_as_it_is() -> None:
    bind = Json().bind_processor(DIALECTS["sqlite"])
    assert bind(Encoded(b'{"a": 1}')) == '{"a": 1}'
    assert bind(None) is None


def test_a_naive_datetime_is_refused() -> None:
    bind = Instant().bind_processor(DIALECTS["sqlite"])
    with pytest.raises(TypeError):
        bind(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_ids_are_version_7_and_grow() -> None:
    new_id = UuidSource()
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
