from typing import Any

from letta import Letta

client = Letta()
agent = client.agents.create(name="Patient", model="letta/scripted")


def said(frames: list[Any]) -> str:
    return "".join(frame.content for frame in frames if frame.message_type == "assistant_message")


begun: list[Any] = []
with client.agents.messages.create(
    agent.id, input="echo one two three four", streaming=True, stream_tokens=True, background=True
) as stream:
    for frame in stream:
        begun.append(frame)
        if said(begun).endswith("two "):
            break  # the reader goes away, the run goes on

run_id, last = begun[0].run_id, begun[-1].seq_id
rest: list[Any] = list(client.runs.messages.stream(run_id, starting_after=last, include_pings=False))
print(said(begun) + "| " + said(rest))

whole: list[Any] = list(client.runs.messages.stream(run_id, include_pings=False))
print(said(whole), [frame.message_type for frame in whole[-2:]])
