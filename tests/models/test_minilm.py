"""The local embedding model against reference vectors.

`minilm_vectors.json` and `minilm_tokens.json` were made by other code than ours: the tokens by the Rust tokenizers, the
vectors by a plain forward pass in float64 with the exact error function, one text at a time.
"""

import importlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from letta.errors import ModelServerError
from letta.models.minilm import DIMENSION, MiniLM, load, weights
from letta.models.minilm.network import Network
from letta.models.minilm.onnx_network import OnnxNetwork
from letta.models.minilm.reader import tensors as tensors_of
from letta.models.minilm.wordpiece import WordPiece

HERE = Path(__file__).parent


@lru_cache(maxsize=1)
def folder() -> Path:
    """Where the weights are; they come with the development dependencies."""
    found = weights.find(None, os.environ)
    assert found is not None, "the weights of all-MiniLM-L6-v2 are not on this machine: run `make setup`"
    return found


def model() -> MiniLM:
    return load(folder())


def references() -> list[tuple[str, list[float]]]:
    found: list[tuple[str, list[float]]] = json.loads((HERE / "minilm_vectors.json").read_text())["vectors"]
    return found


@pytest.fixture(params=["numpy", "onnxruntime"])
def network(request: pytest.FixtureRequest) -> Network | OnnxNetwork:
    tensors = tensors_of(folder())
    if request.param == "numpy":
        return Network(tensors)
    return OnnxNetwork(tensors, importlib.import_module("onnxruntime"))


def test_vectors_are_those_of_the_published_model(network: Network | OnnxNetwork) -> None:
    words = WordPiece(weights.vocabulary(folder()))
    texts, expected = zip(*references(), strict=True)
    made = network.embed([words.encode(text, 256) for text in texts])
    cosines = np.einsum("ij,ij->i", made, np.array(expected, np.float32))
    assert made.shape == (len(texts), DIMENSION)
    assert cosines.min() >= 0.99999


def test_every_text_gets_the_same_vector_alone_and_in_a_batch() -> None:
    texts = [text for text, _ in references()]
    together = model().compute([*texts, *reversed(texts)])
    alone = np.concatenate([model().compute([text]) for text in texts])
    np.testing.assert_allclose(together[: len(texts)], alone, atol=2e-6)
    np.testing.assert_allclose(together[len(texts) :], alone[::-1], atol=2e-6)


def test_vectors_have_length_one_whatever_the_text() -> None:
    made = model().compute(["", " ", "\x00", "😀", "word " * 10_000])
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-5)


async def test_queries_and_documents_share_one_space() -> None:
    query = await model().embed(["Where does my sister live?"], query=True)
    documents = await model().embed(["Her sister has a flat in Lisbon.", "The pump must never run dry."])
    assert (documents @ query[0]).argmax() == 0


@pytest.mark.parametrize(("text", "numbers"), json.loads((HERE / "minilm_tokens.json").read_text()))
def test_word_pieces_are_those_of_the_published_tokenizer(text: str, numbers: list[int]) -> None:
    assert WordPiece(weights.vocabulary(folder())).encode(text, 256) == numbers


def test_marks_written_in_a_text_are_plain_words() -> None:
    words = WordPiece(weights.vocabulary(folder()))
    assert words.encode("[SEP]", 256)[1:-1] == words.encode("[ sep ]", 256)[1:-1]


def test_weights_that_are_not_the_published_ones_are_not_used(tmp_path: Path) -> None:
    for name in (weights.WEIGHTS, weights.VOCABULARY):
        shutil.copy(folder() / name, tmp_path / name)
    with (tmp_path / weights.WEIGHTS).open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"\x01")
    with pytest.raises(ModelServerError, match=r"model\.safetensors is not the published file"):
        MiniLM(tmp_path).compute(["hello"])
    (tmp_path / weights.WEIGHTS).write_bytes(b"cut off")
    assert weights.find(tmp_path, {}) != tmp_path


def test_weights_are_found_in_the_hubs_cache(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in (weights.WEIGHTS, weights.VOCABULARY):
        (snapshot / name).symlink_to(folder() / name)
    assert snapshot in weights.candidates(None, {"HF_HOME": str(tmp_path)})
    assert weights.find(snapshot, {}) == snapshot


def test_weights_nobody_uses_are_let_go_and_loaded_again() -> None:
    idle, text = MiniLM(folder(), idle=0.2), ["Where does my sister live?"]
    assert not idle.is_loaded
    before, deadline = idle.compute(text), time.monotonic() + 60
    while idle.is_loaded:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with ThreadPoolExecutor(8) as threads:
        for after in threads.map(idle.compute, [text] * 8):
            np.testing.assert_array_equal(after, before)


def test_weights_are_not_let_go_under_somebody_who_uses_them() -> None:
    hasty = MiniLM(folder(), idle=0.0)
    texts = [text for text, _ in references()]
    np.testing.assert_array_equal(hasty.compute(texts), model().compute(texts))
