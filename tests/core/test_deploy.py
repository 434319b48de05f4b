"""deploy/ as far as it can be held against the project without Docker, Kubernetes and Slurm.

Its script for Slurm runs in cluster/test_slurm.py.
"""

import ast
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import yaml

from core.jobs.arguments import APART, config_values, parse
from core.jobs.configure import configure
from core.verbs import VERBS
from tests.core import test_container as container

PROJECT = container.PROJECT
DEPLOY = PROJECT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
ON_RAY = [name for name in COMPOSE["services"] if name != "app"]
RAYJOB: dict[str, Any] = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text(encoding="utf-8"))
CLUSTER = RAYJOB["spec"]["rayClusterSpec"]
PODS = [group["template"]["spec"] for group in (CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"])]
[RAY] = re.findall(r"^ray==(\S+)$", (PROJECT / "requirements-ray.txt").read_text(), re.MULTILINE)
TEXTS = [DEPLOY / "lyceum.sbatch", DEPLOY / "rayjob.yaml", PROJECT / "docs" / "scale.md"]


def starts() -> Iterator[set[str]]:
    """The options of each `ray start` in deploy/."""
    for name in ON_RAY:
        yield _options(" ".join(COMPOSE["services"][name]["command"]))
    [join] = re.findall(r"^ +ray start (.*)$", (DEPLOY / "join.sh").read_text(), re.MULTILINE)
    yield _options(join)
    slurm = re.sub(r"\\\n", " ", (DEPLOY / "lyceum.sbatch").read_text())
    for of_each in re.findall(r'^ *on_nodes .*?--(?:nodelist|exclude)="\$first" (.*)$', slurm, re.MULTILINE):
        yield _options(of_each)
    [of_all] = re.findall(r'start "\$@" +(.*) &$', slurm, re.MULTILINE)
    yield _options(of_all)


def _options(line: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+", line))


def test_the_image_adds_ray_to_the_other_one() -> None:
    instructions = dict(re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE, re.MULTILINE))
    assert instructions["FROM"] == "${LYCEUM}" and instructions["ARG"] == "LYCEUM=lyceum" and instructions["USER"] == "lyceum"
    assert "--requirement requirements-ray.txt" in instructions["RUN"] and "CMD" not in instructions
    allowed = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (\S+) ", DOCKERFILE, re.MULTILINE):
        assert (PROJECT / line).is_file() and line in allowed


def test_composes_app_starts_as_in_its_image_once_it_has_joined() -> None:
    app = COMPOSE["services"]["app"]
    [command] = container.instructions("CMD")[-1:]
    words = [part for word in app["command"] for part in word.split("=")]
    assert words == ["deploy/join.sh", *ast.literal_eval(command.strip())]
    assert app["image"] == COMPOSE["services"]["ray-head"]["image"] and app["build"]["dockerfile"] == "deploy/Dockerfile"
    said = (PROJECT / "core" / "jobs" / "executor.py").read_text()
    assert all(f'"{name}"' in said for name in app["environment"] if not name.startswith("RAY_AUTH"))
    assert app["environment"]["RAY_ADDRESS"] == "ray-head:6379" and "--port=6379" in COMPOSE["services"]["ray-head"]["command"]


@pytest.mark.parametrize("service", ON_RAY)
def test_a_cluster_of_compose_is_closed_and_asks_for_a_token(service: str) -> None:
    found = COMPOSE["services"][service]
    assert found["networks"] == ["cluster"] and COMPOSE["networks"]["cluster"]["internal"] and "ports" not in found
    assert found["read_only"] and found["cap_drop"] == ["ALL"] and "no-new-privileges:true" in found["security_opt"]
    for each in (found, COMPOSE["services"]["app"]):
        assert each["environment"]["RAY_AUTH_MODE"] == "token" and each["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
        assert each["shm_size"]
    assert {mount.partition(":")[0] for mount in found.get("volumes", [])} <= {"./models", *container.COMPOSE["volumes"]}


def test_a_rayjob_has_the_right_versions_variables_and_folders() -> None:
    assert CLUSTER["rayVersion"] == RAY and CLUSTER["authOptions"]["mode"] == "token"
    assert len({each["image"] for pod in PODS for each in pod["containers"]}) == 1
    said = "".join(file.read_text(encoding="utf-8") for file in (PROJECT / "core").rglob("*.py"))
    [workdir] = container.instructions("WORKDIR")
    for pod in PODS:
        [one] = pod["containers"]
        variables = {each["name"]: each["value"] for each in one["env"]}
        assert all(f'"{name}"' in said for name in variables if name.startswith("LYCEUM"))
        assert variables["PYTHONPATH"] == workdir
        assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        rights = one["securityContext"]
        assert rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"] and rights["capabilities"] == {"drop": ["ALL"]}
        assert one["resources"]["limits"]["memory"] == one["resources"]["requests"]["memory"]
    assert {"LYCEUM_EXECUTOR", "LYCEUM_HOME"} <= {each["name"] for each in PODS[0]["containers"][0]["env"]}


def test_the_commands_that_are_given_are_understood() -> None:
    commands = [RAYJOB["spec"]["entrypoint"].partition("-m core ")[2]]
    for text in TEXTS:
        commands += re.findall(r"(?:lyceum\.sbatch|python -m core) ([a-z]+ --[^.`\n\"]+(?:\.jsonl[^\n]*)?)", text.read_text())
    assert len(commands) >= 8
    for command in commands:
        values = parse(shlex.split(command.strip()))
        assert values["verb"] in (*VERBS, *APART)
        if values["verb"] in VERBS:
            config = configure(values["verb"], config_values(values))
            assert (PROJECT / str(getattr(config, "data", ""))).exists()


def test_shell_scripts_can_be_read() -> None:
    for name in ("lyceum.sbatch", "join.sh"):
        script = DEPLOY / name
        subprocess.run(["bash", "-n", str(script)], check=True)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", str(script)], check=True)
    assert (DEPLOY / "join.sh").stat().st_mode & 0o111, "the image starts it"


@pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray")
def test_ray_has_the_options_that_it_is_started_with() -> None:
    from ray.scripts.scripts import start

    known = {name for option in start.params for name in option.opts}
    found = list(starts())
    assert len(found) == 6 and all(found)
    assert set().union(*found) <= known
