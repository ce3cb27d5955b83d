"""Doing the hub's work from outside it.

`Worker` runs any async function as an executor; `Program` is the function that runs a command for each
task; `run_worker` puts them together, and `crossdock worker` puts it on the command line.
"""

from hub.worker.notes import Note
from hub.worker.program import Limits, Program
from hub.worker.reporter import Refused, Reporter, TaskFailed
from hub.worker.run import WorkerConfig, run_worker
from hub.worker.worker import Handler, Worker

__all__ = [
    "Handler",
    "Limits",
    "Note",
    "Program",
    "Refused",
    "Reporter",
    "TaskFailed",
    "Worker",
    "WorkerConfig",
    "run_worker",
]
