"""What is known of models by name alone."""

import pytest

from letta.models import catalog
from letta.models.catalog import Known


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o-mini", Known(128_000, 16_384)),
        ("gpt-4o-2024-05-13", Known(128_000, 4_096)),
        ("gpt-4.1-mini-2025-04-14", Known(1_047_576, 32_768)),
        ("gpt-4-1106-preview", Known(128_000, 4_096)),
        ("gpt-4", Known(8_192, 8_192)),
        ("ft:gpt-4o-mini-2024-07-18:acme::x1", Known(128_000, 16_384)),
        ("claude-sonnet-4-5-20250929", Known(200_000, 64_000)),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Known(200_000, 64_000)),
        ("llama3.1:8b", Known(131_072, None)),
        ("Meta-Llama-3.1-8B-Instruct", Known(131_072, None)),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", Known(131_072, None)),
        ("llama3:8b", Known(8_192, None)),
        ("models/gemini-2.5-flash", Known(1_048_576, 65_536)),
        ("o3-mini", Known(200_000, 100_000)),
        ("an-entirely-new-7b", None),
        ("gpt-99", None),
    ],
)
def test_one_model_has_one_size_in_every_spelling(name: str, expected: Known | None) -> None:
    assert catalog.known(name) == expected


@pytest.mark.parametrize(
    ("name", "chats", "dimensions"),
    [
        ("text-embedding-3-large", False, 3_072),
        ("nomic-embed-text:latest", False, 768),
        ("BAAI/bge-m3", False, 1_024),
        ("text-embedding-qwen3-embedding-8b", False, 4_096),
        ("an-unknown-embedder", False, None),
        ("gpt-4o-realtime-preview", False, None),
        ("whisper-1", False, None),
        ("gpt-image-1", False, None),
        ("gpt-4o", True, None),
        ("qwen3:32b", True, None),
    ],
)
def test_names_tell_embeddings_and_other_things_from_conversation(
    name: str, chats: bool, dimensions: int | None
) -> None:
    assert (catalog.chats(name), catalog.dimensions(name)) == (chats, dimensions)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5 (20250929)"),
        ("gpt-4o-mini", "GPT 4o Mini"),
        ("gpt-6.1-sol", "GPT 6.1 Sol"),
        ("gemini-2.5-flash", "Gemini 2.5 Flash"),
        ("o3-mini", "o3 Mini"),
        ("us.anthropic.claude-opus-4-8", "us.anthropic.claude-opus-4-8"),
        ("llama3.1:8b", "llama3.1:8b"),
    ],
)
def test_a_readable_name_keeps_what_tells_models_apart(name: str, expected: str) -> None:
    assert catalog.display_name(name) == expected


def test_an_answer_never_fills_more_than_a_quarter_of_an_unknown_window() -> None:
    assert [catalog.answer_limit(window) for window in (1, 8_192, 32_000, 1_000_000)] == [1, 2_048, 8_000, 16_384]
