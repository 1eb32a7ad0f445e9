"""Schemas from Python source: by its syntax, in every docstring style, with every type."""

from typing import Any

import pytest

from letta.errors import InvalidRequest
from letta.tools.schema_generation import check, derive, inline, with_arguments

GOOGLE = '''
def roll(sides: int, times: int = 1):
    """Roll dice.

    As often as wanted.

    Args:
        sides (int): How many sides a die has,
            at least two.
        times: How often to roll.

    Returns:
        list[int]: What was rolled.
    """
'''
NUMPY = '''
def roll(sides: int, times: int = 1):
    """
    Roll dice.

    As often as wanted.

    Parameters
    ----------
    sides : int
        How many sides a die has,
        at least two.
    times : int, optional
        How often to roll.

    Returns
    -------
    list[int]
        What was rolled.
    """
'''
REST = '''
def roll(sides: int, times: int = 1):
    """Roll dice.

    As often as wanted.

    :param sides: How many sides a die has,
        at least two.
    :param int times: How often to roll.
    :type sides: int
    :returns: What was rolled.
    """
'''


@pytest.mark.parametrize("source", [GOOGLE, NUMPY, REST], ids=["google", "numpy", "rest"])
def test_every_style_of_docstring_gives_the_same_schema(source: str) -> None:
    derived = derive(source)
    assert derived.open == {}
    assert derived.schema == {
        "name": "roll",
        "description": "Roll dice.\n\nAs often as wanted.",
        "parameters": {
            "type": "object",
            "properties": {
                "sides": {"type": "integer", "description": "How many sides a die has, at least two."},
                "times": {"type": "integer", "description": "How often to roll.", "default": 1},
            },
            "required": ["sides"],
        },
    }


DEFINITIONS = '''
from __future__ import annotations
import datetime, enum, typing as t
from dataclasses import dataclass
from typing import *

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Place(TypedDict, total=False):
    """Where."""
    city: Required[str]
    code: NotRequired[int]

@dataclass
class Person:
    name: str
    tags: list[str] = field(default_factory=list)

Names = list[str]
'''
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "code": {"type": "integer"}},
    "required": ["city"],
    "description": "Where.",
}
NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("annotation", "schema", "required"),
    [
        ("str", {"type": "string"}, True),
        ("float", {"type": "number"}, True),
        ("bool", {"type": "boolean"}, True),
        ("list", {"type": "array", "items": {}}, True),
        ("dict", {"type": "object"}, True),
        ("Any", {}, True),
        ("'int'", {"type": "integer"}, True),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}, True),
        ("list[dict[str, float]]", {"type": "array", "items": NUMBERS}, True),
        ("Sequence[str]", {"type": "array", "items": {"type": "string"}}, True),
        ("set[int]", {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, True),
        ("tuple[int, int]", {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}, True),
        ("Tuple[str, ...]", {"type": "array", "items": {"type": "string"}}, True),
        ("Dict[str, Any]", {"type": "object"}, True),
        ("Optional[int]", {"type": "integer"}, False),
        ("int | None", {"type": "integer"}, False),
        ("t.Optional[t.List[str]]", {"type": "array", "items": {"type": "string"}}, False),
        ("Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, True),
        ("Union[int, str, None]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, False),
        ("Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}, True),
        ("Literal[1, -2]", {"type": "integer", "enum": [1, -2]}, True),
        ("Literal['a', 1]", {"enum": ["a", 1]}, True),
        ("Annotated[int, 'how many']", {"type": "integer", "description": "how many"}, True),
        ("datetime.date", {"type": "string", "format": "date"}, True),
        ("Color", {"type": "string", "enum": ["red", "blue"]}, True),
        ("Place", PLACE, True),
        ("list[Person]", {"type": "array", "items": PERSON}, True),
        ("Person | None", PERSON, False),
        ("Names", {"type": "array", "items": {"type": "string"}}, True),
    ],
)  # fmt: skip
def test_a_type_becomes_its_schema(annotation: str, schema: dict[str, Any], required: bool) -> None:
    derived = derive(f"{DEFINITIONS}\ndef f(x: {annotation}):\n    '''F.'''")
    assert derived.open == {}
    assert derived.parameters == {"type": "object", "properties": {"x": schema}, "required": ["x"] if required else []}


@pytest.mark.parametrize("annotation", ["pd.DataFrame", "Model", "list[Model]", "Callable[[int], int]", "Tree"])
def test_what_only_running_code_knows_is_left_open(annotation: str) -> None:
    source = "class Model(BaseModel):\n    a: int\nclass Tree(TypedDict):\n    inner: list['Tree']\n"
    derived = derive(f"{source}def f(x: {annotation}, y: int):\n    '''F.'''")
    assert list(derived.open) == ["x"]
    assert derived.parameters["properties"] == {"x": {}, "y": {"type": "integer"}}


DOCUMENTED_TYPES = {
    "google": """
    Args:
        a (int): One.
        b (float, optional): Two.
        c (list[int]): Three.
    """,
    "numpy": """
    Parameters
    ----------
    a : int
        One.
    b : float, default 2
        Two.
    c : list of int
        Three.
    """,
    "rest": """
    :param int a: One.
    :param b: Two.
    :type b: float or None
    :param c: Three.
    :type c: List[int]
    """,
}


@pytest.mark.parametrize("docstring", DOCUMENTED_TYPES.values(), ids=DOCUMENTED_TYPES.keys())
def test_types_in_the_docstring_count_where_there_is_no_annotation(docstring: str) -> None:
    derived = derive(f'def ds(a, b=2, c=None):\n    """Do it.\n{docstring}"""')
    assert derived.parameters == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "One."},
            "b": {"type": "number", "description": "Two.", "default": 2},
            "c": {"type": "array", "items": {"type": "integer"}, "description": "Three."},
        },
        "required": ["a"],
    }


@pytest.mark.parametrize(
    ("written", "schema"),
    [
        ("string", {"type": "string"}),
        ("Optional[bool]", {"type": "boolean"}),
        ("int or str", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("list of strings, optional", {"type": "array", "items": {"type": "string"}}),
        ("{'list of ints', 'int or so'}", {"type": "string", "enum": ["list of ints", "int or so"]}),
        ("dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("whatever you like", {"type": "string"}),
        ("", {"type": "string"}),
    ],
)
def test_a_docstring_may_word_a_type_freely(written: str, schema: dict[str, Any]) -> None:
    derived = derive(f'def ds(a):\n    """Do it.\n\n    Args:\n        a ({written}): One.\n    """')
    assert {**derived.parameters["properties"]["a"], "description": ""} == {**schema, "description": ""}


def test_an_annotation_counts_more_than_the_docstring_and_that_more_than_the_default() -> None:
    docstring = '"""Do it.\n\n    Args:\n        a (int): A.\n        b (str): B.\n    """'
    properties = derive(f"def ds(a: str, b=1, c=2, d=True, e=[], f=None):\n    {docstring}").parameters["properties"]
    kinds = {name: found["type"] for name, found in properties.items()}
    assert kinds == {"a": "string", "b": "string", "c": "integer", "d": "boolean", "e": "array", "f": "string"}


def test_what_the_server_fills_in_is_not_shown_to_the_model() -> None:
    derived = derive("def f(agent_state: 'AgentState', client, x: int, *, y: bool = False):\n    '''F.'''")
    assert list(derived.parameters["properties"]) == ["x", "y"]


def test_the_first_public_function_with_a_docstring_is_the_tool() -> None:
    source = (
        "def helper(x): ...\ndef _hidden():\n    '''No.'''\ndef tool():\n    '''Yes.'''\ndef other():\n    '''No.'''"
    )
    assert derive(source).name == "tool"
    assert derive(source, "helper").name == "helper"
    assert derive("def a(): ...\ndef b(): ...").name == "a"
    assert derive("async def later(): ...").name == "later"


def test_nothing_of_the_source_is_run() -> None:
    assert derive("import os\nos._exit(1)\ndef f(x=print(1)):\n    '''F.'''").name == "f"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n  pass", "source_code: line 1 is not valid Python"),
        ("x = 1\ndef f()\n  pass", "source_code: line 2 is not valid Python"),
        ("x = 1", "source_code: it defines no function"),
        ("", "source_code: it defines no function"),
        ("def f(*args): ...", "source_code: line 1: *args and **kwargs cannot be described"),
        ("\ndef f(**kwargs): ...", "source_code: line 2: *args and **kwargs cannot be described"),
        ("def f(a, /): ...", "source_code: line 1: f has positional-only parameters"),
        ("\0", "source_code: "),
        ("(" * 5000, "source_code: "),
        ("def f(): return " + "-" * 100_000 + "1", "source_code: "),
    ],
    ids=range(10),
)
def test_source_that_is_no_tool_is_refused_with_its_line(source: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        derive(source)
    assert refused.value.message.startswith(message)


def test_a_function_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidRequest, match=r"no function called 'g' \(functions: f\)"):
        derive("def f(): ...", "g")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "json_schema.name: None is not a name"),
        ({"name": "a b"}, "json_schema.name: 'a b' is not a name"),
        ({"name": "a" * 49}, "has 49 characters, at most 48"),
        ({"name": "g"}, "it is 'g', but the source defines 'f'"),
        ({"name": "f", "parameters": []}, "json_schema.parameters: it must be a JSON Schema of an object"),
        ({"name": "f", "parameters": {"properties": []}}, "json_schema.parameters: it must be"),
    ],
)
def test_a_schema_no_tool_can_have_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(schema, "f")
    assert message in refused.value.message


def test_arguments_given_as_a_pydantic_schema_have_their_references_put_in_place() -> None:
    arguments = {
        "$defs": {
            "Item": {"type": "object", "properties": {"inner": {"$ref": "#/$defs/Item"}, "n": {"type": "integer"}}}
        },
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},
        "required": ["items"],
        "title": "Arguments",
        "type": "object",
    }
    schema = with_arguments({"name": "f", "description": "F.", "parameters": {}}, arguments)
    item = {"type": "object", "properties": {"inner": {"type": "object"}, "n": {"type": "integer"}}}
    assert schema == {
        "name": "f",
        "description": "F.",
        "parameters": {
            "type": "object",
            "properties": {"items": {"type": "array", "items": item}},
            "required": ["items"],
        },
    }
    assert inline({"$ref": "#/$defs/missing", "description": "d"}) == {"type": "object", "description": "d"}


def test_arguments_that_are_no_object_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="args_json_schema"):
        with_arguments({"name": "f"}, {"type": "string"})
