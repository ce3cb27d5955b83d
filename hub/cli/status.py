"""`crossdock` alone: how the hub is, or how to start one."""

from hub.cli.frame import load_settings
from hub.cli.output import Output, symbol
from hub.cli.probe import ask
from hub.version import version

START = """\
No hub at {url}.

  crossdock serve --demo    a hub with a worker, and commands to paste
  crossdock serve           a hub on SQLite in this directory
  crossdock demo            one task, a kill -9, and nothing lost
  crossdock --help          everything else"""

RUNNING = """\
{mark} Crossdock at {url} is {state}.

  crossdock worker --exec 'CMD'    do its tasks with a command of yours
  crossdock keys create            let somebody else in
  crossdock doctor                 what is configured, reachable and wrong"""


def show_status(out: Output) -> None:
    """Ask the hub of the settings, and print what to do next."""
    settings = load_settings(out)
    url = settings.url or settings.address()
    answer = ask(url)
    if answer.status is None:
        record = {"url": url, "reachable": False, "ready": False, "program": version()}
        out.record(record, START.format(url=url), answer="unreachable")
        return
    record = {"url": url, "reachable": True, "ready": answer.ready, "program": version()}
    state = "ready" if answer.ready else f"up, but not ready (HTTP {answer.status})"
    mark = symbol("ok" if answer.ready else "wrong")
    out.record(record, RUNNING.format(mark=mark, url=url, state=state), answer=state)
