import letta_client

from letta import Letta

client = Letta()
try:
    client.agents.create(model="no-such-provider/some-model")
except letta_client.NotFoundError as error:
    print(error.status_code)  # error.body holds the server's explanation
