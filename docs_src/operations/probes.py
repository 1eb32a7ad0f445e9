import os

import httpx

server = httpx.Client(base_url=os.environ["LETTA_BASE_URL"])
print(server.get("/v1/health").json()["status"])
print(server.get("/v1/ready").status_code)
for line in server.get("/metrics").text.splitlines():
    if line.startswith(("letta_runs_open", "letta_database_up")):
        print(line)
