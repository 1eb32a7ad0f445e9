"""The provider conformance suite for providers reached through pydantic-ai.

The suite's tests run here over two more wires. What a wire cannot express, or the library decides, is listed with its
reason.
"""

import pytest
from tests.models import test_conformance as suite
from tests.models.wire import Wire
from tests.models.wire_google import GOOGLE
from tests.models.wire_responses import RESPONSES

from letta.models.protocol import Answer, ReasoningDelta
from letta.schemas.messages import ReasoningPart, SummarizedReasoningPart

ARGUMENTS = "arguments are an object on this wire, never text"
BODY = "the library writes the whole body anew"
WHOLE = "the library asks for a stream and reads nothing else"
NOT_HERE = {
    ("google", "test_broken_arguments_are_repaired"): ARGUMENTS,
    ("google", "test_two_objects_in_one_call_are_an_error_and_go_back_as_what_they_were"): ARGUMENTS,
    ("google", "test_arguments_cut_by_the_output_limit_are_not_completed"): ARGUMENTS,
    (
        "google",
        "test_addresses_of_images_reach_the_model",
    ): "the library fetches them",
    ("google", "test_server_that_does_not_stream_is_read_too"): WHOLE,
    ("openai-responses", "test_server_that_does_not_stream_is_read_too"): WHOLE,
    ("google", "test_later_request_begins_with_the_bytes_of_the_earlier_one"): BODY,
    ("openai-responses", "test_later_request_begins_with_the_bytes_of_the_earlier_one"): BODY,
    ("google", "test_old_messages_are_encoded_once"): BODY,
    ("openai-responses", "test_old_messages_are_encoded_once"): BODY,
}


class Reading(suite.Reading):
    """Counts summaries of reasoning as what was streamed, too."""

    def _matches(self, answer: Answer) -> None:
        shown = [
            ReasoningPart(reasoning="".join(part.summary)) if isinstance(part, SummarizedReasoningPart) else part
            for part in answer.parts
        ]
        super()._matches(Answer(parts=tuple(shown)))
        assert all(isinstance(event.text, str) for event in self.events if isinstance(event, ReasoningDelta))


@pytest.fixture(params=(RESPONSES, GOOGLE), ids=lambda wire: wire.id)
def wire(request: pytest.FixtureRequest) -> Wire:
    found = request.param
    assert isinstance(found, Wire)
    if reason := NOT_HERE.get((found.id, request.node.originalname)):
        pytest.skip(reason)
    return found


@pytest.fixture(params=["stream", "collect"])
def read(request: pytest.FixtureRequest) -> Reading:
    return Reading(request.param)


anyio_backend = suite.anyio_backend
pytestmark = suite.pytestmark
server = suite.server
globals().update({name: found for name, found in vars(suite).items() if name.startswith("test_")})
