"""`python -m benchmarks [GROUP ...]`: measure everything, or the groups named, and print the tables."""

import argparse
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import perf_counter

import uvloop
from rich.console import Console

from benchmarks import crowd, forks, history, long, nouns, sandbox, startup, statements, steps, tokens, watchers
from benchmarks.retrieval import evaluate, speed
from benchmarks.sizes import FULL, TINY, Sizes
from benchmarks.table import Row, show

Group = Callable[[Sizes, Path], Awaitable[list[Row]]]

GROUPS: dict[str, tuple[str, Group]] = {
    "steps": ("One step (50 tokens of answer)", steps.run),
    "history": ("One step with a long history; the floor is the short one", history.run),
    "forks": ("Forks of a long history; the floor is a short one", forks.run),
    "long": ("A conversation of 10,000 messages; the floor is its beginning", long.run),
    "tokens": ("Streaming", tokens.run),
    "statements": ("Database work of one plain message", statements.run),
    "nouns": ("Plain requests; the floor answers nothing, or writes one row", nouns.run),
    "startup": ("Start and idle", startup.run),
    "sandbox": ("Calls of tools; the floor is a new Python", sandbox.run),
    "retrieval": ("What is found among the first 5, 10 and 20 results", evaluate.run),
    "search": ("Searching, and how soon what is stored is found", speed.run),
    "watchers": ("Many readers of a run that has nothing to say", watchers.run),
    "crowd": (f"Many agents, a model that waits {crowd.LATENCY_MS} ms", crowd.run),
}


async def measure(groups: Sequence[str], sizes: Sizes, console: Console) -> dict[str, list[Row]]:
    """Run groups one after the other, each in a folder of its own, and print each one's table."""
    found: dict[str, list[Row]] = {}
    for name in groups:
        title, group = GROUPS[name]
        with tempfile.TemporaryDirectory(prefix="letta-bench-") as folder:
            found[name] = await group(sizes, Path(folder))
        show(title, found[name], console)
    return found


def main(arguments: Sequence[str]) -> int:
    """The command. Answers 0 whatever the numbers are: a slow machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"one or more of: {', '.join(GROUPS)}")
    parser.add_argument("--tiny", action="store_true", help="only show that everything runs; the numbers mean nothing")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.groups) - GROUPS.keys():
        parser.error(f"no such group: {', '.join(sorted(unknown))} (groups: {', '.join(GROUPS)})")
    if not sys.platform.startswith("linux"):
        parser.error("CPU and memory are read from Linux's /proc; other systems are not supported")
    console, begun = Console(width=max(120, Console().width)), perf_counter()
    console.print(
        f"open-letta {importlib.metadata.version('open-letta')}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; compare ratios, not milliseconds",
        highlight=False,
    )
    uvloop.run(measure(chosen.groups or list(GROUPS), TINY if chosen.tiny else FULL, console))
    console.print(f"took {perf_counter() - begun:.0f} s", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
