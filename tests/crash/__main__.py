"""`python -m tests.crash --kills 200 [--database-url postgresql://... --replicas 2]`: the harness at any length."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.crash.harness import run

parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
parser.add_argument("--kills", type=int, default=200)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--replicas", type=int, default=1)
parser.add_argument("--database-url")
parser.add_argument("--folder", type=Path, help="kept afterwards, with the logs of the servers")
chosen = parser.parse_args()
begun = time.monotonic()
place = chosen.folder or Path(tempfile.mkdtemp(prefix="letta-crash-"))
outcome = asyncio.run(
    run(place, kills=chosen.kills, seed=chosen.seed, replicas=chosen.replicas, database_url=chosen.database_url)
)
print(f"{outcome} in {time.monotonic() - begun:.0f} s: nothing lost, nothing done twice, nothing stuck")
