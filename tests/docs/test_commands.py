"""Every command that README, CONTRIBUTING and the guides print is one that works."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core import paths, runs
from core.__main__ import main
from core.config import ChatConfig, Config, MergeConfig, RouteConfig, ServeConfig, TrainConfig
from core.jobs import execute
from core.jobs.arguments import ALONE, APART, config_values, parse
from core.jobs.configure import configure, fill
from core.verbs import VERBS
from core.workspace import Workspace
from docs.hooks import cards
from tests.docs import reading
from tests.pages import tiny_mix

PAGES = [pytest.param(page, id=str(page.relative_to(paths.PROJECT))) for page in reading.PAGES]
BY_NAME = ("adapters", "models", "model", "candidate", "surface", "recipe")
"""Fields that name what must be there."""
WORDS = {"base", "all", "own", "last", "mix", "route"}
PLACEHOLDER = re.compile(r"[a-z]|[A-Z_]+|my[_-].*|.*[/.:<].*|\.\.\.|base \+ .*")
"""Names that stand for the reader's own: a letter, capitals, my_..., files."""


def core_commands(page: Path) -> list[list[str]]:
    """The words after `-m core` of each command of a page."""
    return [words[1:] for words in reading.commands(page) if words[0] == "core"]


def config_of(words: list[str]) -> Config | None:
    """What the real parser makes of the words; None for what takes no config."""
    values = parse(words)
    if values["verb"] in ALONE:
        return fill({"serve": ServeConfig, "chat": ChatConfig}[values["verb"]], config_values(values))
    return None if values["verb"] in APART else configure(values["verb"], config_values(values))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in core_commands(page):
        if "--help" in words:
            for verb in [*VERBS, *APART] if not words[0].isalpha() or words[0].isupper() else [words[0]]:
                with pytest.raises(SystemExit):
                    main([verb, "--help"])
            assert "usage: python -m core" in capsys.readouterr().out
        elif len(words) == 1 and words[0] in VERBS:
            assert VERBS[words[0]].config  # the verb alone, by its name
        elif not words or "VERB" in words[0] or words[0].startswith("<"):
            continue
        else:
            config_of(words)


def would_make(config: Config | None) -> str:
    """The name that a command gives to what it makes; of several adapters the first one's."""
    if isinstance(config, TrainConfig):
        first = "cynic" if config.categories == ("each",) else config.categories[0]
        return f"{config.name}-{first}" if config.name else f"{first}-{config.method}"
    if isinstance(config, MergeConfig | RouteConfig) and not config.replace:
        usual = f"{config.strategy}_merged_adapter" if isinstance(config, MergeConfig) else f"{config.router}_route"
        return config.name or usual
    return ""


def test_models_that_the_readme_names_are_shipped_or_made_before() -> None:
    known = {Path(name).name for name in cards.MODELS} | WORDS
    commands = core_commands(paths.PROJECT / "README.md")
    assert len(commands) >= 15
    for words in commands:
        config = None if "--help" in words or words[0].startswith("<") else config_of(words)
        for field in BY_NAME:
            value = getattr(config, field, None) or ()
            unknown = {name for name in ([value] if isinstance(value, str) else value) if not PLACEHOLDER.fullmatch(name)} - known
            assert not unknown, f"python -m core {' '.join(words)}: {unknown}"
        if made := would_make(config):
            assert made not in known, f"python -m core {' '.join(words)}: there is a {made} already, so this would be refused"
            known.add(made)
        if data := getattr(config, "data", None):
            assert PLACEHOLDER.fullmatch(Path(data).stem) or (paths.PROJECT / data).exists(), data


def test_make_has_every_target_that_is_named() -> None:
    makefile = (paths.PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    named = {words[1] for page in reading.PAGES for words in reading.commands(page) if words[0] == "make"}
    assert len(named) > 5 and named <= targets, named - targets
    listed = subprocess.run(["make", "help"], cwd=paths.PROJECT, capture_output=True, text=True, check=True).stdout
    helped = set(re.findall(r"^([a-z][\w-]*):.*## ", makefile, re.MULTILINE))
    assert helped == {line.split()[1] for line in listed.splitlines() if line.startswith("make ")}


@pytest.fixture
def shipped(home: Path) -> Path:
    """A home with the models and evaluations that ship, by links; what a person made beside them is left out."""
    runs_ = (f"results/{name}" for name in (cards.EVALUATION, cards.COMPARISON))
    for name in (*cards.MODELS, *runs_):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).symlink_to(paths.PROJECT / name)
    return home


def do(words: list[str]) -> dict[str, object]:
    """A verb in this process, as its job would."""
    config = configure(words[0], config_values(parse(words)))
    run = runs.create(words[0], config.model_dump(mode="json"))
    return execute.execute(Workspace(execute.claim(run.run_id))).outputs


def readme(*verbs: str) -> list[list[str]]:
    """README's commands of these verbs, in its order."""
    return [words for words in core_commands(paths.PROJECT / "README.md") if words[0] in verbs and "--help" not in words]


def test_readmes_quick_commands_do_what_they_say(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the shipped adapters and results: no model is loaded."""
    seen = {words[0]: do(words) for words in readme("merge", "claims", "arena")}
    assert {"merge", "claims", "arena"} <= seen.keys()
    assert (shipped / "merged_adapters" / "both" / "adapter_model.safetensors").exists()
    assert all((shipped / str(path)).exists() for path in seen["claims"].values() if str(path).endswith(".csv"))
    assert main(["jobs"]) == 0 and "merge" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.bundled
def test_readmes_other_commands_do_what_they_say(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that take less than minutes: on the bundled model and encoder."""
    for words in readme("data", "merge", "route", "export", "judge"):
        assert do(words), words
    [line] = re.findall(r'`python -c "([^"`]+)"`', (paths.PROJECT / "README.md").read_text(encoding="utf-8"))
    printed = subprocess.run([sys.executable, "-c", line], cwd=paths.PROJECT, capture_output=True, text=True, check=True).stdout
    assert (Path(printed.strip()) / "config.json").exists()
    assert (shipped / "models").exists() and (shipped / "merged_adapters" / "learned_route").exists()


@pytest.mark.slow
def test_the_script_of_the_guide_to_serving_runs(home: Path, tiny_base: Path, tiny_data: Path) -> None:
    """Other people's clients, as the guide has them, on an engine with a tiny model."""
    [block] = (each for each in reading.blocks(paths.PROJECT / "docs" / "serving.md") if each.language == "python")
    with tiny_mix.home_with_engine(home, tiny_base, tiny_data, port=8941):
        names: dict[str, Any] = {}
        exec(block.text.replace(":8000", ":8941"), names)
    assert names["reply"].choices[0].message.content
