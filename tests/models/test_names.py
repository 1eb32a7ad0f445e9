"""Names, ids and handles in the forms providers take."""

import re

import pytest

from letta.models import names
from letta.models.anthropic_messages import CALL_ID
from letta.models.anthropic_models import abilities


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("core_memory-append", "core_memory-append"),
        ("files.read", "files_read_601e4e"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 57 + "_9537c5"),
        ("", "_e3b0c4"),
    ],
)
def test_tool_names_are_changed_only_where_they_must_be(name: str, legal: str) -> None:
    assert names.tool_name(name) == legal
    assert names.tool_name(legal) == legal


def test_names_that_look_alike_stay_apart() -> None:
    assert names.tool_name("a.b") != names.tool_name("a/b")
    assert names.originals(["a.b", "ok"]) == {names.tool_name("a.b"): "a.b"}


def test_ids_are_changed_only_where_they_must_be_and_always_alike() -> None:
    nine = re.compile("[a-zA-Z0-9]{9}")
    assert names.call_id("toolu_01", CALL_ID) == "toolu_01"
    assert names.call_id("a b", CALL_ID) == names.call_id("a b", CALL_ID)
    assert CALL_ID.fullmatch(names.call_id("a b", CALL_ID))
    assert nine.fullmatch(names.call_id("toolu_01", nine))
    assert names.call_id("toolu_01", nine) != names.call_id("toolu_02", nine)


@pytest.mark.parametrize(
    ("handle", "provider"), [("openai/gpt", "openai"), ("openai-proxy/gpt", "openai"), ("a/b/c", "a"), (None, "")]
)
def test_provider_is_the_first_part_of_a_handle(handle: str | None, provider: str) -> None:
    assert names.provider_of(handle) == provider


@pytest.mark.parametrize(
    ("model", "adaptive", "budget", "bound", "off", "max_output"),
    [
        ("claude-3-haiku-20240307", False, True, False, "disabled", 4_096),
        ("claude-3-7-sonnet-20250219", False, True, False, "disabled", 8_192),
        ("claude-opus-4-20250514", False, True, False, "disabled", 16_000),
        ("claude-sonnet-4-5-20250929", False, True, False, "disabled", 64_000),
        ("claude-opus-4-6", True, True, False, "disabled", 64_000),
        ("anthropic.claude-opus-4-8", True, False, False, "disabled", 64_000),
        ("claude-haiku-5-5", True, False, True, "disabled", 64_000),
        ("claude-sonnet-5.5", True, False, True, "between_tools", 64_000),
        ("claude-fable-5", True, False, False, None, 64_000),
        ("claude-fable-5-1", True, False, True, None, 64_000),
        ("glm-4.7", False, True, False, "disabled", 8_192),
    ],
)
def test_abilities_follow_from_the_name(
    model: str, adaptive: bool, budget: bool, bound: bool, off: str | None, max_output: int
) -> None:
    able = abilities(model)
    found = (able.adaptive, able.budget, able.bound_thinking, able.off, able.max_output)
    assert found == (adaptive, budget, bound, off, max_output)
