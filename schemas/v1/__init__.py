"""What `/api/v1` says and understands: pydantic models in, typed dicts out.

This is REST's own wire format; core and the other faces never see it. `openapi.json` beside it is written by
`python -m hub.openapi` and compared by a test.
"""
