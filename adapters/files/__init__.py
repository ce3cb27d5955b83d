"""Where files are kept: `core.ports.Files` over storages."""

from adapters.files.disk import DiskFiles

__all__ = ["DiskFiles"]
