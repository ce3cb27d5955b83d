"""The figures: what was measured, medians and ratios, and which targets were met."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MEMORY, SQLITE = "reference, memory", "reference, SQLite"
HUB, POSTGRES = "hub, SQLite", "hub, PostgreSQL"


@dataclass(frozen=True)
class Target:
    """Something that is to be reached."""

    says: str
    figure: float | None
    wanted: float
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """None when it was not measured."""
        if self.figure is None:
            return None
        return self.figure <= self.wanted if self.at_most else self.figure >= self.wanted


class Results:
    """All measurements of one run."""

    def __init__(self, machine: Mapping[str, Any]) -> None:
        self.machine = machine
        self.rates: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        self.latency: dict[str, Mapping[str, Any]] = {}
        self.idle: dict[str, float] = {}
        """MiB that 1,000 subscribers take who wait."""
        self.claims: dict[str, Mapping[int, float]] = {}
        self.history: dict[str, Mapping[str, Mapping[int, float]]] = {}
        """Microseconds of each operation, by how many tasks are finished."""

    def add(self, what: str, system: str, measured: Mapping[str, Any]) -> None:
        """One round of one system.

        Raises:
            RuntimeError: more than one answer in a hundred was not the wanted one.
        """
        good = measured["rate"]
        if measured["errors"] > 0.01 * max(good, 1):
            raise RuntimeError(f"{system}, {what}: {measured['errors']} errors, {measured['first_error']}")
        self.rates[what][system].append(measured)

    def median(self, what: str, system: str, figure: str = "rate") -> float | None:
        """The median over the rounds; None where it was not measured."""
        rounds = self.rates.get(what, {}).get(system)
        return statistics.median(measured[figure] for measured in rounds) if rounds else None

    def ratio(self, what: str, system: str, to: str) -> float | None:
        """One system's median by another's."""
        mine, theirs = self.median(what, system), self.median(what, to)
        return mine / theirs if mine and theirs else None

    def growth(self, system: str) -> float | None:
        """The cost of a claim at the deepest backlog by that at the shallowest."""
        costs = self.claims.get(system)
        return costs[max(costs)] / costs[min(costs)] if costs else None

    def aged(self, system: str) -> Mapping[str, float]:
        """Each operation's cost beside the longest history by that beside the shortest."""
        costs = self.history.get(system, {})
        return {name: by_size[max(by_size)] / by_size[min(by_size)] for name, by_size in costs.items()}

    def targets(self) -> Iterator[Target]:
        """What was to be reached, with what was."""
        for what, wanted in (("send, return at once", 3.0), ("send, blocking", 1.5), ("get task", 2.5)):
            yield Target(f"{what}: at least {wanted:g} times {MEMORY}", self.ratio(what, HUB, MEMORY), wanted)
        yield Target("claim at the deepest backlog: at most 1.5 times", self.growth(HUB), 1.5, at_most=True)
        for what, wanted in (
            ("send, return at once", 4.0),
            ("send, blocking", 2.0),
            ("get task", 3.0),
            ("stream of 1,000 events", 3.0),
        ):
            yield Target(f"A2A, {what}: {wanted:g} times {MEMORY}", self.ratio(what, HUB, MEMORY), wanted)
        yield Target("1,000 idle subscribers: under 40 MiB", self.idle.get(HUB), 40.0, at_most=True)
        for system in (HUB, POSTGRES):
            for name, growth in self.aged(system).items():
                says = f"{system}, {name}, beside the longest history: at most 1.5 times"
                yield Target(says, growth, 1.5, at_most=True)
        p99 = self.latency.get(HUB, {}).get("p99_ms")
        yield Target("submit to claim, p99: under 15 ms", p99, 15.0, at_most=True)
        if self.median("submit over REST", POSTGRES) is not None:
            cycles = self.median("claim and start, complete", POSTGRES)
            yield Target("cycles on PostgreSQL: at least 1,500 a second", cycles, 1_500)
            submits = self.median("submit over REST", POSTGRES)
            yield Target("submits on PostgreSQL: at least 3,000 a second", submits, 3_000)

    def missed(self) -> list[Target]:
        """The targets that were measured and not met."""
        return [target for target in self.targets() if target.met is False]

    def plain(self) -> dict[str, Any]:
        """Everything as JSON can say it."""
        return {
            "machine": dict(self.machine),
            "rates": {
                what: {
                    system: {
                        figure: self.median(what, system, figure)
                        for figure in ("rate", "p50_ms", "p99_ms", "server_us", "load_cpu")
                    }
                    | {"rounds": [round(measured["rate"], 1) for measured in rounds]}
                    for system, rounds in by_system.items()
                }
                for what, by_system in self.rates.items()
            },
            "latency": {system: dict(measured) for system, measured in self.latency.items()},
            "idle_mib": dict(self.idle),
            "claim_microseconds": {system: dict(costs) for system, costs in self.claims.items()},
            "history_microseconds": {
                system: {name: dict(by_size) for name, by_size in costs.items()}
                for system, costs in self.history.items()
            },
            "targets": [
                {"says": t.says, "figure": t.figure, "wanted": t.wanted, "met": t.met} for t in self.targets()
            ],
        }


@dataclass
class _Table:
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(list(cells))

    def show(self) -> None:
        widths = [max(len(row[n]) for row in self.rows) for n in range(len(self.rows[0]))]
        for row in self.rows:
            first, *others = row
            cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
            print("  ".join(cells).rstrip())
        print()


def show(results: Results) -> None:
    """Print the tables."""
    print("  ".join(f"{name}: {value}" for name, value in results.machine.items()), end="\n\n")
    table = _Table()
    table.add("", "system", "per second", "p50 ms", "p99 ms", "CPU us", "x memory", "x SQLite", "load's core")
    for what, by_system in results.rates.items():
        for system in by_system:
            table.add(
                what,
                system,
                f"{results.median(what, system):,.0f}",
                f"{results.median(what, system, 'p50_ms'):.1f}",
                f"{results.median(what, system, 'p99_ms'):.1f}",
                f"{results.median(what, system, 'server_us'):,.0f}",
                _times(results.ratio(what, system, MEMORY)),
                _times(results.ratio(what, system, SQLITE)),
                f"{results.median(what, system, 'load_cpu'):.0%}",
            )
    table.show()
    table = _Table()
    table.add("submit to claim", "p50 ms", "p99 ms", "samples")
    for system, measured in results.latency.items():
        table.add(system, f"{measured['p50_ms']:.1f}", f"{measured['p99_ms']:.1f}", str(measured["samples"]))
    table.show()
    table = _Table()
    depths = sorted({depth for costs in results.claims.values() for depth in costs})
    table.add("one claim, in process", *(f"{depth:,} ready" for depth in depths), "growth")
    for system, costs in results.claims.items():
        table.add(system, *(f"{costs[depth]:.0f} us" for depth in depths), _times(results.growth(system)))
    table.show()
    table = _Table()
    sizes = sorted({n for costs in results.history.values() for by_size in costs.values() for n in by_size})
    table.add("in process", "system", *(f"{n:,} finished" for n in sizes), "growth")
    for system, by_name in results.history.items():
        for name, by_size in by_name.items():
            cells = (f"{by_size[n]:.0f} us" for n in sizes)
            table.add(name, system, *cells, _times(results.aged(system)[name]))
    table.show()
    for target in results.targets():
        mark = {True: "met   ", False: "MISSED", None: "-     "}[target.met]
        print(f"{mark} {target.says}" + ("" if target.figure is None else f" ({target.figure:,.2f})"))


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
