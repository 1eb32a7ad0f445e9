"""The server's settings: one frozen object, read once in `letta.app` or the CLI and passed on as arguments.

Each field is documented here and in docs/settings.md (a test compares the two). Provider keys are not settings: they
are read from the environment by `letta.models.discovery`.
"""

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Names other than `localhost` may mean anything, so they count as public.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """Environment variables carry the prefix `LETTA_`; arguments win over the environment."""

    model_config = SettingsConfigDict(env_prefix="LETTA_", frozen=True, extra="ignore", populate_by_name=True)

    host: str = "localhost"
    """Address to listen on. Anything but a loopback address needs `server_password` or `insecure`."""
    port: int = Field(default=8283, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and prints it."""
    data_dir: Path = Field(
        default=Path.home() / ".letta-server", validation_alias=AliasChoices("data_dir", "LETTA_DIR", "LETTA_DATA_DIR")
    )
    """Folder of the SQLite file, its backups and the encryption key."""
    database_url: str | None = Field(
        default=None, validation_alias=AliasChoices("database_url", "LETTA_DATABASE_URL", "LETTA_PG_URI")
    )
    """`postgresql://user:password@host/db` or `sqlite:///path`; default: `letta.db` in `data_dir`."""
    sqlite_synchronous: Literal["OFF", "NORMAL", "FULL"] = "FULL"
    """SQLite's `synchronous`: FULL survives power loss, NORMAL may lose the last commits then, OFF is for tests."""
    database_pool: int = Field(default=10, ge=1, le=200)
    """PostgreSQL connections, or SQLite reader threads (at most 4 of those)."""
    database_pooler: bool = False
    """A connection pooler in transaction mode, such as PgBouncer, stands in front of PostgreSQL."""
    database_patience: float = Field(default=30.0, gt=0)
    """Seconds PostgreSQL has for a statement; without an answer by then the connection counts as lost."""
    server_password: SecretStr | None = None
    """The password clients send as `Authorization: Bearer`. None: everybody who reaches the port is trusted, and on a
    loopback address the server answers to localhost and IP addresses only, so that no website can pose as it."""
    insecure: bool = False
    """Listen on a public address without a password."""
    cors_origins: list[str] = ["http://localhost:8283", "http://localhost:5173", "http://localhost:3000"]
    """Browser origins allowed to call the API, as a JSON list; `["*"]` allows all (then without credentials)."""
    encryption_key: SecretStr | None = None
    """Key for secrets at rest. None: a key file is made in `data_dir` (mode 600)."""
    default_model: str | None = None
    """Model handle for agents created without one. None: such a request is refused unless no provider is configured."""
    default_embedding: str | None = None
    """Embedding handle for agents created without one."""
    embedding_weights: Path | None = None
    """Folder with `model.safetensors` and `vocab.txt` of all-MiniLM-L6-v2, the local embedding model."""
    scripted_models: bool = False
    """Answer every model handle with the built-in rule-based model: demos and tests without keys."""
    scripted_latency: float = Field(default=0.0, ge=0, le=60)
    """Seconds the built-in model waits before its first token."""
    discover_local: bool = True
    """Look for Ollama and LM Studio on this machine when nothing names them."""
    max_steps: int = Field(default=50, ge=1, le=1000)
    """Model calls in one run when the request names no number."""
    model_timeout: float = Field(default=600.0, gt=0)
    """Seconds a model may stay silent before the call fails."""
    keep_traces: bool = True
    """Keep the exact provider request and answer of every step (compressed)."""
    sandbox: Literal["auto", "bubblewrap", "landlock", "e2b", "modal"] = "auto"
    """How tools written in code are isolated; auto takes the best that works here. Where none does, they are refused.
    `e2b` and `modal` run them in those clouds instead."""
    sandbox_network: bool = False
    """Give every such tool the network; else only those whose metadata says `allow_network`."""
    unsafe_tools: bool = False
    """Run such tools WITHOUT isolation where none works: they can then do whatever the server's user can."""
    tool_timeout: float = Field(default=180.0, gt=0, le=3600)
    """Seconds such a tool may take for one call."""
    tool_memory_mb: int = Field(default=1024, ge=128, le=1 << 20)
    """Megabytes of memory each process of such a tool may have."""
    approval_timeout: float | None = Field(default=None, gt=0)
    """Seconds a call waits for a person or a client; then it is closed as expired. None: it waits for ever."""
    allow_private_urls: bool | None = None
    """Let tools, MCP servers and callbacks reach this machine and private networks. None: if `host` is loopback."""
    mcp_stdio: bool | None = None
    """Let MCP servers be commands that this server starts, with its rights. None: if `host` is loopback."""
    request_key_hours: float = Field(default=24.0, gt=0, le=24 * 365)
    """Hours for which a request that is sent again (same `Idempotency-Key`, same `otid`s) gets the run it had."""
    callback_secret: SecretStr | None = None
    """Key with which callbacks (`callback_url`) are signed: any text, or `whsec_` and base64. None: not signed."""
    callback_attempts: int = Field(default=8, ge=1, le=20)
    """How often a callback is tried until the other side takes it; the pauses grow up to an hour."""
    ping_interval: float = Field(default=20.0, gt=0)
    """Seconds of silence after which a stream gets a keep-alive frame."""
    stream_patience: float = Field(default=30.0, gt=0)
    """Seconds a stream waits for a reader that takes nothing before it drops it; the run goes on."""
    stream_retention: float = Field(default=86_400.0, gt=0)
    """Seconds after its end that a run's stream can be read again; then its pieces are deleted."""
    notify_url: str | None = None
    """PostgreSQL without a connection pooler in between, where `database_url` leads through one: for LISTEN."""
    shutdown_grace: float = Field(default=10.0, ge=0)
    """Seconds a stopping server lets running steps finish before it parks their runs for the next start."""
    execute: bool = True
    """Work on runs in this process. Off: it only accepts them, and `letta worker` or other servers work on them
    (PostgreSQL only)."""
    queue_slots: int = Field(default=64, ge=1, le=10_000)
    """Runs that belong to no process yet (of schedules, of batches, accepted with `execute` off) which this process
    works on at once."""
    metrics_public: bool = False
    """Let `/metrics` be read without the password."""
    otel: bool = False
    """Send OpenTelemetry spans of runs, model calls and tools to where the OTEL_ variables say. Needs the extra
    `otel`."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""
    log_format: Literal["text", "json"] = "text"
    """Human lines or one JSON object per line."""

    @property
    def private_urls_allowed(self) -> bool:
        """`allow_private_urls` in force."""
        return is_loopback(self.host) if self.allow_private_urls is None else self.allow_private_urls

    @property
    def mcp_stdio_allowed(self) -> bool:
        """`mcp_stdio` in force."""
        return is_loopback(self.host) if self.mcp_stdio is None else self.mcp_stdio

    @property
    def resolved_database_url(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir / 'letta.db'}"
