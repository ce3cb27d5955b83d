"""`make crash`: thirty times SIGKILL under load on each database, and the counts.

With `--streams`: 200 streams over 50 tasks, and ten kills. With `--turns`: agents' turns, and twenty kills.
With `--workflow`: 1,000 tasks in a random graph, done by eight workers, while they and the hub are killed.
With `--webhooks`: 10,000 events for a receiver that fails three times in ten, hangs and is restarted.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from tests.crash import dag, streams, webhooks
from tests.crash.mutant import MUTANTS
from tests.crash.run import Report, postgres_database, run
from tests.crash.turns import Scene, Victim, scenario

GRAPH = 1_000
"""Tasks of the workflow, for eight workers."""
EVENTS = 10_000
"""That a webhook is told of."""
STREAMED = 50
"""Tasks, each with four readers."""


AnyReport = Report | streams.Report | dag.Report


def main() -> int:
    """Run on SQLite, and on PostgreSQL where it is given; 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, help="on each database (30; with --streams or --webhooks 10)")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(1_000_000), help="of the clients' choices"
    )
    parser.add_argument(
        "--postgres",
        metavar="URL",
        default=os.environ.get("CROSSDOCK_TEST_POSTGRES_URL"),
        help="a PostgreSQL server; a database is made there and dropped (CROSSDOCK_TEST_POSTGRES_URL)",
    )
    parser.add_argument("--mutants", action="store_true", help="kill hubs broken on purpose instead")
    parser.add_argument("--streams", action="store_true", help="readers of A2A streams instead of writers")
    parser.add_argument("--turns", action="store_true", help="turns of ACP agents instead, on SQLite")
    parser.add_argument("--workflow", action="store_true", help="a workflow in a random graph instead")
    parser.add_argument("--webhooks", action="store_true", help="an unreliable receiver of webhooks instead")
    options = parser.parse_args()
    if options.mutants:
        return asyncio.run(_teeth(options.seed))
    if options.turns:
        return asyncio.run(_turns(options.kills or 20, options.seed))
    kills = options.kills or (10 if options.streams or options.webhooks else 30)
    kind = next((kind for kind in ("streams", "workflow", "webhooks") if getattr(options, kind)), "writers")
    return asyncio.run(_all(kills, options.seed, options.postgres, kind))


async def _run(kind: str, directory: Path, url: str, kills: int, seed: int) -> AnyReport:
    match kind:
        case "streams":
            return await streams.run(directory, url, tasks=STREAMED, kills=kills, seed=seed)
        case "workflow":
            return await dag.run(directory, url, tasks=GRAPH, workers=8, kills=kills, seed=seed)
        case "webhooks":
            return await webhooks.run(directory, url, events=EVENTS, kills=kills, seed=seed)
        case _:
            return await run(directory, url, kills=kills, seed=seed)


async def _all(kills: int, seed: int, postgres: str | None, kind: str) -> int:
    print(f"{kills} kills on each database, seed {seed}", file=sys.stderr)
    reports: list[AnyReport] = []
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-crash-")))
        urls = [f"sqlite:///{directory}/hub.db"]
        if postgres is None:
            print("no PostgreSQL: set CROSSDOCK_TEST_POSTGRES_URL or say --postgres URL", file=sys.stderr)
        else:
            urls.append(await stack.enter_async_context(postgres_database(postgres)))
        for url in urls:
            report = await _run(kind, directory, url, kills, seed)
            reports.append(report)
            print(f"{report.database}: {report.seconds:.0f} s, {len(report.faults)} faults", file=sys.stderr)
    _show(reports)
    return 1 if any(report.faults for report in reports) else 0


async def _turns(kills: int, seed: int) -> int:
    rng = random.Random(seed)
    victims = [rng.choice(list(Victim)) for _ in range(kills)]
    with tempfile.TemporaryDirectory(prefix="crossdock-crash-") as directory:
        scene = Scene(Path(directory), f"sqlite:///{directory}/hub.db", rng)
        faults = await scenario(scene, victims)
    print(f"turns: {kills} kills ({', '.join(victims)}), seed {seed}: {len(faults)} faults")
    for fault in faults[:50]:
        print(f"turns: {fault}")
    return 1 if faults else 0


async def _teeth(seed: int) -> int:
    """Whether a crash test of these few kills notices each hub that is broken on purpose."""
    missed = 0
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory(prefix="crossdock-crash-") as directory:
            url = f"sqlite:///{directory}/hub.db"
            report = await run(Path(directory), url, kills=4, seed=seed, mutant=mutant, stalls=0.2)
        missed += not report.faults
        verdict = f"noticed, for example: {report.faults[0]}" if report.faults else "NOT NOTICED"
        print(f"a hub that {mutant}: {verdict}")
    return missed


def _show(reports: Sequence[AnyReport]) -> None:
    columns = [report.counts() for report in reports]
    names = list(dict.fromkeys(name for column in columns for name in column))
    print(f"{'':26}" + "".join(f"{report.database:>12}" for report in reports))
    for name in names:
        print(f"{name:26}" + "".join(f"{column.get(name, 0):>12,}" for column in columns))
    for report in reports:
        for fault in report.faults[:50]:
            print(f"{report.database}: {fault}")


if __name__ == "__main__":
    sys.exit(main())
