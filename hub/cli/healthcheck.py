"""`python -m hub.cli.healthcheck`: exit code 0 when the hub of this container takes calls. For the image."""

import sys

from hub.cli.probe import ask
from hub.settings import Settings


def main() -> int:
    """Ask on loopback, whatever address the hub listens on."""
    return 0 if ask(f"http://127.0.0.1:{Settings.from_process().port}").ready else 1


if __name__ == "__main__":
    sys.exit(main())
