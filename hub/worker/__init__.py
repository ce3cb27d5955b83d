"""Doing the hub's work from outside it.

`Worker` runs any async function as an executor; `Program` is the function that runs a command for each task,
`hub.worker.acp` has the one that speaks with an agent; `run_worker` puts them together, `hub/cli/worker.py`
puts it on the command line.
"""

from hub.worker.argv import BadCommand, words
from hub.worker.chunks import Chunks
from hub.worker.notes import Note
from hub.worker.program import Limits, Program, passed_on
from hub.worker.reporter import Refused, Reporter, TaskFailed
from hub.worker.run import WorkerConfig, run_worker
from hub.worker.story import Story
from hub.worker.worker import DEFAULT_TIMEOUT_MINUTES, Handler, Worker

__all__ = [
    "DEFAULT_TIMEOUT_MINUTES",
    "BadCommand",
    "Chunks",
    "Handler",
    "Limits",
    "Note",
    "Program",
    "Refused",
    "Reporter",
    "Story",
    "TaskFailed",
    "Worker",
    "WorkerConfig",
    "passed_on",
    "run_worker",
    "words",
]
