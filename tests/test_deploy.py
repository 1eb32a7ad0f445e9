"""What stands in deploy/ fits the server: its settings exist and can be read, its commands and routes are there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.modules import ROOT
from scripts.settings_page import variables
from typer.testing import CliRunner

from letta.app import ROUTERS
from letta.cli.main import app
from letta.cli.worker import PROBES
from letta.settings import Settings

DEPLOY = ROOT / "deploy"
WHOLE = DEPLOY / "compose.yaml"
PARTS = sorted(DEPLOY.glob("compose.*.yaml"))
GIVEN = {"POSTGRES_PASSWORD": "p", "LETTA_SERVER_PASSWORD": "s", "LETTA_ENCRYPTION_KEY": "k"}
_VARIABLE = re.compile(r"\$\{(\w+)(:[?-])?([^}]*)\}")


def composed(*paths: Path) -> dict[str, dict[str, Any]]:
    """The services, with variables filled in, as several files make them together."""
    services: dict[str, dict[str, Any]] = {}
    for path in paths:
        text = _VARIABLE.sub(lambda found: GIVEN.get(found[1], ""), path.read_text(encoding="utf-8"))
        for name, service in yaml.safe_load(text)["services"].items():
            before = services.get(name, {})
            environment = before.get("environment", {}) | service.get("environment", {})
            services[name] = before | service | {"environment": environment}
    return services


def letta_services(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if service.get("image") == "open-letta"}


def read(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a container reads."""
    with monkeypatch.context() as patch:
        for name, value in {**image_environment(), **service["environment"]}.items():
            patch.setenv(name, str(value))
        return Settings()


def image_environment() -> dict[str, str]:
    lines = re.findall(r"^ENV (.*LETTA_.*)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))


@pytest.mark.parametrize("extra", [None, *PARTS], ids=lambda path: path.name if path else "compose.yaml alone")
def test_settings_of_containers_exist_and_are_read(extra: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {variable for name, field in Settings.model_fields.items() for variable in variables(name, field)}
    services = letta_services(composed(WHOLE, *([extra] if extra else [])))
    assert {"letta-a", "letta-b"} <= set(services)
    for name, service in services.items():
        given = {*service["environment"], *image_environment()}
        assert {one for one in given if one.startswith("LETTA_")} - known == set(), name
        settings = read(service, monkeypatch)
        assert settings.resolved_database_url.startswith("postgresql://")
        assert settings.host == "0.0.0.0"
        assert settings.server_password is not None
        assert settings.encryption_key is not None


def test_replicas_differ_in_nothing_but_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    services = letta_services(composed(WHOLE))
    assert services["letta-a"] == services["letta-b"]
    # Containers are given longer to stop than the server takes.
    grace = float(services["letta-a"]["stop_grace_period"].removesuffix("s"))
    assert read(services["letta-a"], monkeypatch).shutdown_grace + 10 < grace


def test_workers_execute_and_servers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    services = letta_services(composed(WHOLE, DEPLOY / "compose.workers.yaml"))
    executing = {name: read(service, monkeypatch).execute for name, service in services.items()}
    assert executing == {"letta-a": False, "letta-b": False, "worker": True}
    command = services["worker"]["command"]
    shown = CliRunner().invoke(app, [command[0], "--help"])
    assert shown.exit_code == 0
    assert [option for option in command if option.startswith("--") and option not in shown.output] == []


def test_only_notices_go_past_the_pooler(monkeypatch: pytest.MonkeyPatch) -> None:
    services = composed(WHOLE, DEPLOY / "compose.pgbouncer.yaml")
    for service in letta_services(services).values():
        settings = read(service, monkeypatch)
        assert settings.database_pooler
        assert "@pgbouncer:6432/" in settings.resolved_database_url
        assert "@postgres:5432/" in (settings.notify_url or "")
    assert services["pgbouncer"]["environment"]["POOL_MODE"] == "transaction"


def test_the_balancer_knows_every_replica_and_asks_whether_it_is_ready() -> None:
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    [replicas] = re.findall(r"reverse_proxy (.*) \{", text)
    assert replicas.split() == [f"{name}:8283" for name in sorted(letta_services(composed(WHOLE)))]
    paths = {getattr(route, "path", "") for router in ROUTERS for route in router.routes}
    assert set(re.findall(r"health_uri (\S+)", text)) | PROBES <= paths
    assert "flush_interval -1" in text


def test_the_image_runs_as_a_user_and_has_what_tools_need() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["letta"]
    assert "bubblewrap" in text
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []
    assert "/v1/ready" in text
