"""Arguments of tool calls as models write them, and what becomes of them."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta.models.repair import Arguments, arguments

READABLE = {
    "": "{}",
    "  \n": "{}",
    "null": "{}",
    '{"a": 1}': '{"a": 1}',
    '{"a":1,}': '{"a": 1}',
    '{"a": [1, 2,],}': '{"a": [1, 2]}',
    "{'a': 'it\\'s'}": '{"a": "it\'s"}',
    "{'a': True, 'b': None, 'c': False}": '{"a": true, "b": null, "c": false}',
    "{a: 1, $b: 2}": '{"a": 1, "$b": 2}',
    '```json\n{"a": 1}\n```': '{"a": 1}',
    '```\n{"a": 1}': '{"a": 1}',
    '"{\\"a\\": 1}"': '{"a": 1}',
    '{"a": "line\nbreak\tand tab"}': '{"a": "line\\nbreak\\tand tab"}',
    '{"a": "C:\\dir \\d+"}': '{"a": "C:\\\\dir \\\\d+"}',
    '{"a": "\\ud83d\\ude00",}': '{"a": "😀"}',
    '{"a": "\\ud83d",}': '{"a": "\ufffd"}',
    '{"a": .5, "b": +3, "c": 1_000}': '{"a": 0.5, "b": 3, "c": 1000}',
    '{"a": 123456789012345678901234567890}': '{"a": 123456789012345678901234567890}',
    '{"a": "finished"': '{"a": "finished"}',
    '{"a": {"b": [1, 2': '{"a": {"b": [1, 2]}}',
    '{"a": 1}</tool_call>': '{"a": 1}',
    '{"a": 1}<|im_end|>': '{"a": 1}',
    '{}{"a": 1}': '{"a": 1}',
    '{"a": 1}{"a": 1}': '{"a": 1}',
}
ERRORS = {
    '{"a": 1}{"b": 2}': "two objects",
    '{"a": 1}, {"b": 2}': "two objects",
    "{}" * 50 + '{"a": 1}': "many objects",
    '{"a": 1} and then some': "unexpected text after the object at character 9, before ' and then some'",
    '{"a" 1}': "expected ':' after the name 'a' at character 6",
    '{"a": 1 "b": 2}': "expected ',' or '}' at character 9",
    '{"a": hello}': "expected a value at character 7",
    '{"a": tru': "the text ends inside the value 'tru'",
    "{broken": "the text ends after the name 'broken'",
    '{"broken': "the text ends inside a string",
    '{"broken"': "the text ends after the name 'broken'",
    '{"a": 1, "b":': "the text ends before the value of 'b'",
    '{"a": 1,': "the text ends after a comma",
    '{"a": [1, 2, ': "the text ends after a comma",
    '{"label": "human", "new_string": "the pin is 12': "the text ends inside a string",
    '{"a": "ends in an escape\\': "the text ends inside a string",
    '{"a": 1e999}': "the number 1e999 is too large",
    '{"a": -1e999}': "the number -1e999 is too large",
    f'{{"a": {"1" * 5000}}}': f"the number {'1' * 20} is too large",
    '{"a": NaN}': "expected a value at character 7",
    '{"a": Infinity}': "expected a value at character 7",
    "hello": "expected a value at character 1",
    "[1, 2]": "one JSON object, not an array",
    "[1, 2": "one JSON object, not an array",
    '"text"': "one JSON object, not a string",
    "17": "one JSON object, not a number",
    "true": "one JSON object, not a boolean",
    '{"a": ' + "[" * 5000: "nested deeper",
}


@pytest.mark.parametrize(("text", "read"), READABLE.items())
def test_readable_arguments_become_an_object(text: str, read: str) -> None:
    assert arguments(text) == Arguments(read)
    assert isinstance(json.loads(read), dict)


@pytest.mark.parametrize(("text", "why"), ERRORS.items())
def test_unreadable_arguments_stay_as_written_and_say_why(text: str, why: str) -> None:
    found = arguments(text)
    assert found.text == text
    assert found.error is not None
    assert why in found.error


@pytest.mark.parametrize("text", ['{"a": "half of', '{"a": 1, "b": [1', '{"a": 12'])
def test_arguments_cut_off_by_the_limit_are_an_error(text: str) -> None:
    found = arguments(text, cut_off=True)
    assert (found.text, "output limit" in (found.error or "")) == (text, True)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_valid_objects_keep_their_meaning(value: dict[str, object]) -> None:
    text = json.dumps(value)
    assert json.loads(arguments(text).text) == value
    # A trailing comma forces the forgiving reader, which must read the same.
    forced = text[:-1] + ("," if value else "") + "}"
    assert json.loads(arguments(forced).text) == value


@given(st.text(alphabet="{}[]\"'\\,:.+-_0aTNu \n<`"))
def test_any_text_is_an_object_or_an_error(text: str) -> None:
    found = arguments(text)
    assert found.error is not None or isinstance(orjson.loads(found.text), dict)
