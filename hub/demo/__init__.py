"""`crossdock demo`: one task, asked over A2A, survives a `kill -9` of the hub. It asserts what it prints.

`process.py` starts and kills the hub, `scout.py` is the worker's function, `show.py` prints, `story.py` is
the story itself.
"""

from hub.demo.story import run_demo

__all__ = ["run_demo"]
