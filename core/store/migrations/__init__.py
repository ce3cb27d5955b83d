"""The schema's history: one module in `versions/` per step, numbered, each with a way up and a way down.

`core/store/migrate.py` walks it. There is no `env.py`: that module hands Alembic its connection directly.
"""
