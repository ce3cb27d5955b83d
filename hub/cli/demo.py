"""`crossdock demo`: one task survives a kill -9, before your eyes."""

import click

from hub.cli.frame import ExampleHelp, output_options
from hub.cli.output import Output


@click.command(cls=ExampleHelp, examples="crossdock demo")
@click.option("--keep", is_flag=True, help="Leave the directory with the database and the logs.")
@output_options
def demo(out: Output, keep: bool) -> int:
    """Start a hub and a worker, send a task, kill the hub in mid-sentence, and show that nothing is lost.

    Everything happens in a temporary directory on a free port, and takes less than twenty seconds.
    """
    from hub.demo import run_demo

    return run_demo(out, keep=keep)
