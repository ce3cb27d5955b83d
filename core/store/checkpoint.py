"""SQLite's write-ahead log is carried into the database beside the writer, so that no commit waits for it.

A passive checkpoint blocks neither writer nor readers. The writer's own automatic one stays as a backstop for
a log that outgrows this one; it then finds little left to do. See https://sqlite.org/wal.html#ckpt.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable

EVERY = 128
"""Commits between two checkpoints."""

logger = logging.getLogger(__name__)


class Checkpointer:
    """A thread with a connection of its own."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._commits = 0
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="crossdock-checkpointer", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the checkpoint that is under way."""
        self._stopping = True
        self._due.set()
        self._thread.join()

    def committed(self) -> None:
        """Count a commit. The writer calls it."""
        self._commits += 1
        if self._commits >= EVERY:
            self._commits = 0
            self._due.set()

    def _run(self) -> None:
        connection = self._connect()
        try:
            while True:
                self._due.wait()
                self._due.clear()
                if self._stopping:
                    return
                try:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                except sqlite3.Error as error:  # the next one may succeed; nothing is lost meanwhile
                    logger.warning("the write-ahead log could not be carried over: %s", error)
        finally:
            connection.close()
