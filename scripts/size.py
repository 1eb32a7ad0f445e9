"""How large the code is, in numbers that show drift: `make size`, or `python -m scripts.size --json`.

Counts lines as a person scrolls through them, blank lines and comments included. Judges nothing; the figures to feel at
home with are a median file of 120 lines, a median function of 8, and at most 4 % of functions over 50.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from scripts.modules import ROOT, SOURCES, Module, cycles, graph, load

AREAS = ("src/letta", "packages", "tests", "benchmarks", "docs_src", "scripts")
LARGEST = 10
LONG = 50

REQUEST_PATH: Mapping[str, tuple[str, ...]] = {
    "HTTP": ("api.gateway", "api.messages", "api.context", "api.sse", "api.wire", "schemas.sends"),
    "the run": (
        "runtime.runner", "runtime.loop", "runtime.request", "runtime.styles", "runtime.approvals",
        "runtime.transcript", "runtime.commit", "runtime.records", "runtime.events",
    ),
    "what the model sees": (
        "memory.window", "memory.prompt", "memory.tokens", "memory.compaction", "schemas.messages",
    ),
    "an OpenAI-compatible model": (
        "models.protocol", "models.registry", "models.kinds", "models.openai_chat", "models.openai_messages",
        "models.openai_answer", "models.http",
    ),
    "a memory tool": ("tools.toolbox", "tools.rules", "tools.builtin", "tools.context", "tools.memory"),
    "the store": (
        "store.database", "store.runs", "store.agents", "store.blocks", "store.conversations", "store.messages",
        "store.search", "store.steps", "store.traces",
    ),
}  # fmt: skip
"""The modules of `letta` that one message passes through: `POST /v1/agents/{id}/messages`, with one memory edit."""


@dataclass(frozen=True)
class Lengths:
    """Lines of files or functions. `p95` is the length that 95 % stay within."""

    count: int
    lines: int
    median: float
    p95: int
    largest: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Area:
    """A folder: its files, its functions, and the share of functions over 50 lines, from 0 to 1."""

    folder: str
    files: Lengths
    functions: Lengths
    long_functions: float


@dataclass(frozen=True)
class Report:
    """Everything that is measured."""

    areas: tuple[Area, ...]
    largest_files: tuple[tuple[str, int], ...]
    largest_functions: tuple[tuple[str, int], ...]
    cycles: tuple[tuple[str, ...], ...]
    request_path: tuple[tuple[str, str, int], ...]


def lengths(measured: Sequence[tuple[str, int]]) -> Lengths:
    """Sum up (name, lines) pairs."""
    if not measured:
        return Lengths(0, 0, 0, 0, ())
    ordered = sorted(measured, key=lambda pair: (-pair[1], pair[0]))
    rising = sorted(lines for _, lines in measured)
    p95 = rising[max(0, -(-len(rising) * 95 // 100) - 1)]
    return Lengths(len(rising), sum(rising), median(rising), p95, tuple(ordered[:LARGEST]))


def area(folder: str, modules: Sequence[Module]) -> Area:
    """The numbers of one folder. Empty files do not count: they hold nothing to read."""
    files = lengths([(module.path, module.lines) for module in modules if module.lines])
    measured = [(f"{module.path}:{name}", lines) for module in modules for name, lines in module.functions]
    long = sum(lines > LONG for _, lines in measured)
    return Area(folder, files, lengths(measured), long / len(measured) if measured else 0.0)


def report() -> Report:
    """Measure the repository. Raises OSError, SyntaxError."""
    areas = [area(folder, list(load(ROOT / folder).values())) for folder in AREAS]
    product = [found for found in areas if found.folder in ("src/letta", "packages")]
    modules = load(*SOURCES)
    return Report(
        areas=tuple(found for found in areas if found.files.count),
        largest_files=_top(pair for found in product for pair in found.files.largest),
        largest_functions=_top(pair for found in product for pair in found.functions.largest),
        cycles=tuple(tuple(group) for group in cycles(graph(modules))),
        request_path=tuple(
            (group, modules[f"letta.{name}"].path, modules[f"letta.{name}"].lines)
            for group, names in REQUEST_PATH.items()
            for name in names
        ),
    )


def _top(pairs: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:LARGEST])


def _table(measured: Report) -> Iterator[str]:
    heading = ("files", "lines", "median", "p95", "functions", "median", "p95", "> 50")
    yield "{:<12} {:>6} {:>7} {:>7} {:>5}   {:>9} {:>7} {:>5} {:>6}".format("", *heading)
    for found in measured.areas:
        files, functions = found.files, found.functions
        yield (
            f"{found.folder:<12} {files.count:>6} {files.lines:>7} {files.median:>7g} {files.p95:>5}   "
            f"{functions.count:>9} {functions.median:>7g} {functions.p95:>5} {found.long_functions:>6.1%}"
        )
    for title, pairs in (
        ("Largest files", measured.largest_files),
        ("Largest functions", measured.largest_functions),
    ):
        yield f"\n{title} of the product"
        yield from (f"{lines:>6}  {name}" for name, lines in pairs)
    yield f"\nImport cycles: {len(measured.cycles) or 'none'}"
    yield from (f"        {', '.join(group)}" for group in measured.cycles)
    path = measured.request_path
    yield f"\nOne message passes through {len(path)} files, {sum(lines for _, _, lines in path)} lines"
    for group in dict.fromkeys(group for group, _, _ in path):
        mine = [(name, lines) for of, name, lines in path if of == group]
        yield f"{sum(lines for _, lines in mine):>6}  {group}"
        yield from (f"  {lines:>6}  {name}" for name, lines in mine)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="How large the code is.")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    measured = report()
    if parser.parse_args(arguments).json:
        print(json.dumps(asdict(measured), indent=2))
    else:
        print("\n".join(_table(measured)))


if __name__ == "__main__":
    main()
