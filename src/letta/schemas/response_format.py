"""The form a model is asked to answer in. Knows nothing of how a provider is told about it."""

from typing import Annotated, Literal

from pydantic import Field

from letta.schemas.common import JsonObject, Wire


class TextResponseFormat(Wire):
    """Free text."""

    type: Literal["text"] = "text"


class JsonObjectResponseFormat(Wire):
    """Any JSON object."""

    type: Literal["json_object"] = "json_object"


class JsonSchemaResponseFormat(Wire):
    """JSON that follows a schema: `{"name": ..., "schema": {...}}` as OpenAI takes it."""

    json_schema: JsonObject
    type: Literal["json_schema"] = "json_schema"


ResponseFormat = Annotated[
    TextResponseFormat | JsonSchemaResponseFormat | JsonObjectResponseFormat, Field(discriminator="type")
]

RESPONSE_FORMATS = (TextResponseFormat, JsonSchemaResponseFormat, JsonObjectResponseFormat)
