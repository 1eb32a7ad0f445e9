import base64
import hashlib
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from letta import Letta

told: list[tuple[bool, str]] = []
SECRET = os.environ["LETTA_CALLBACK_SECRET"].encode()


class Listener(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
        genuine = hmac.compare_digest(expected, self.headers["webhook-signature"])
        told.append((genuine, json.loads(body)["status"]))
        self.send_response(204 if genuine else 403)
        self.end_headers()


listener = HTTPServer(("127.0.0.1", 0), Listener)
waiting = Thread(target=listener.handle_request)
waiting.start()

client = Letta()
agent = client.agents.create(name="Caller", model="letta/scripted")
url = f"http://127.0.0.1:{listener.server_port}/done"
run = client.agents.messages.create_async(agent.id, input="Hello!", callback_url=url)
waiting.join()
listener.server_close()
print(run.status, told)
