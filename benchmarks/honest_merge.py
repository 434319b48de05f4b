"""What merging and routing cost and gain on questions that nothing was tuned on.

    python benchmarks/honest_merge.py [--homes HOME ...] [--trials 30] [--limit 1000] [--out FILE.json]

Loss of the reference answers on the TEST rows, in nats per answer token, mean over the categories and each of them, for:
base; every category under its own adapter (the upper bound of routing); one adapter trained on everything; the equal-weight merge whose
strength is the best on validation rows; the mix that `search` finds on validation rows; the 1/n average, exact; PEFT's linear at 1/n
(A and B apart); TIES at density 0.5; and the routes. Nothing that is tuned sees a test row.
Each home is a folder with adapters/, a set of adapters trained with another seed. With several, a row's interval is Student's over the
homes; with one, a bootstrap over the questions. Nothing is written into the homes.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402
from sklearn.feature_extraction.text import CountVectorizer  # noqa: E402
from sklearn.naive_bayes import MultinomialNB  # noqa: E402

from benchmarks.merge_table import AVERAGE, EQUAL, LABELS, NAMED, OWN, PEFT, POOLED, REST, SURE, TIES, TUNED, Measured, findings, table  # noqa: E402
from core import adapter, paths, results, runs  # noqa: E402
from core.answering.models import Model, find_models  # noqa: E402
from core.answering.side_by_side import SideBySide  # noqa: E402
from core.config import Config, MergeConfig, RouteConfig, SearchConfig  # noqa: E402
from core.data.prompt import Prompter  # noqa: E402
from core.data.read import read  # noqa: E402
from core.merge import ROUTERS  # noqa: E402
from core.merge.trials import HeldOut  # noqa: E402
from core.models.load import BaseModel, load  # noqa: E402
from core.models.loss import row_losses  # noqa: E402
from core.presets import PRESETS  # noqa: E402
from core.results import ALL, Trial  # noqa: E402
from core.verbs import VERBS  # noqa: E402
from core.workspace import Workspace  # noqa: E402


def main() -> None:
    """Measure every home and print the table; its figures as JSON go to --out."""
    options = _options()
    measured = []
    for home in options.homes:
        print(f"{home}: ...", file=sys.stderr, flush=True)
        measured.append(measure(Path(home).resolve(), options))
        if options.out:  # at once: each home takes half an hour
            Path(options.out).write_text(json.dumps([asdict(each) for each in measured], indent=1) + "\n")
    print("\n".join(table(measured)))
    print("\n".join(findings(measured)))


def measure(home: Path, options: argparse.Namespace) -> Measured:
    """Search, merge and route in a home of their own that borrows the adapters; then the losses on the test rows."""
    with _borrowed(home):
        infos = {folder.name: adapter.read_info(folder) for folder in sorted(paths.adapters().iterdir())}
        own = [name for name, info in infos.items() if info.get("role") == "own" and len(info["categories"]) == 1]
        pooled = [name for name, info in infos.items() if info.get("role") == "pooled"]
        config = SearchConfig(**{**PRESETS["search"]["seven_schools"], **_given(options), "adapters": own})
        found, equal, validation = _search(config)
        mixes = {AVERAGE: (1 / len(own),) * len(own), EQUAL: equal, TUNED: tuple(found["weights"].values())}
        baked = [_do("merge", MergeConfig(adapters=own, space="factor", name=PEFT)), _do("merge", _ties(own))]
        routes = [_do("route", _route(router, own, config)) for router in ROUTERS]
        base = load(config.base_model, precision=config.precision, device=config.device)
        names = ["base", *own, *pooled[:1], *(Path(made.get("adapter") or made["route"]).name for made in [*baked, *routes])]
        models = find_models(names, base, partial(print, file=sys.stderr), config.system_prompt)
        models += [_linear(name, own, weights) for name, weights in mixes.items()]
        held_out, losses = _losses(config, base, models, options.test_limit)
        renamed = {pooled[0]: POOLED} if pooled else {}
        return _measured(config, home, infos, own, held_out, {renamed.get(n, n): each for n, each in losses.items()}, validation, mixes)


def _search(config: SearchConfig) -> tuple[dict[str, Any], tuple[float, ...], dict[str, float]]:
    """The search's outputs, the best equal weights among its trials, and the validation losses of both and of the average."""
    found = _do("search", config)
    trials = results.read(paths.home() / found["trials"], Trial)
    equal = trials[trials["origin"].isin(["average", "equal", "sum"])]
    means = equal[(equal["figure"] == "loss") & (equal["name"] == ALL)].set_index("trial")["value"]
    weights = equal[(equal["figure"] == "weight") & (equal["trial"] == means.idxmin())]["value"]
    return found, tuple(weights), {AVERAGE: found["baselines"]["average"], EQUAL: float(means.min()), TUNED: found["mean"]}


def _ties(own: Sequence[str]) -> MergeConfig:
    return MergeConfig(adapters=own, strategy="ties", density=0.5, name=TIES)


def _route(router: str, own: Sequence[str], config: SearchConfig) -> RouteConfig:
    return RouteConfig(adapters=own, router=router, data=config.data, name=f"{router}-route")


def _linear(name: str, own: Sequence[str], weights: Sequence[float]) -> Model:
    """A weighted sum, which needs no folder."""
    return Model(results.Model(name, "merged", "", "", ""), {adapter.find(each).resolve(): w for each, w in zip(own, weights, strict=True)})


def _losses(config: SearchConfig, base: BaseModel, models: Sequence[Model], limit: int | None) -> tuple[HeldOut, dict[str, list[float]]]:
    """Each model's loss on every test row."""
    rows = read(config).select("test", limit=limit)
    prompter = Prompter(base.tokenizer, config.system_prompt, config.max_seq_length)
    encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in rows])
    side, total = SideBySide(base, models, rows, encoded), len(models) * len(rows)

    def progress(done: int) -> None:
        print(f"{done} of {total} test rows", end="\r", file=sys.stderr, flush=True)

    found = row_losses(base, encoded * len(models), side.mixing_of_references, progress=progress)
    side.detach()
    by_model = {model.row.model: found[place * len(rows) : (place + 1) * len(rows)] for place, model in enumerate(models)}
    return HeldOut(rows, encoded), by_model


def _measured(
    config: SearchConfig,
    home: Path,
    infos: Mapping[str, dict[str, Any]],
    own: Sequence[str],
    held_out: HeldOut,
    losses: Mapping[str, list[float]],
    validation: dict[str, float],
    mixes: Mapping[str, tuple[float, ...]],
) -> Measured:
    owners = {infos[name]["categories"][0]: name for name in own}
    picked = {OWN: [losses[owners[row.category]][place] for place, row in enumerate(held_out.rows)]}
    shown = {name: each for name, each in {**losses, **picked}.items() if name in LABELS}
    found, intervals = {}, {}
    for name, each in shown.items():
        by_category = held_out.by_category(each)
        found[name] = {ALL: float(by_category.mean())} | dict(zip(held_out.categories, map(float, by_category), strict=True))
        low, high = np.quantile(held_out.drawn(each, 0).mean(1), [0.025, 0.975])
        intervals[name] = (float(low), float(high))
    seeds = sorted({int(infos[name]["seed"]) for name in own})
    weights = {name: list(each) for name, each in mixes.items()}
    return Measured(str(home), seeds, found, intervals, validation, weights, len(held_out.rows), _by_clarity(config, held_out, shown))


def _by_clarity(config: SearchConfig, held_out: HeldOut, losses: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Each model's loss on the questions that name their category, and on the rest."""
    clear = _named(config, held_out)
    groups = {NAMED: clear, REST: ~clear}
    found = {
        model: {where: float(np.array(each)[rows].sum() / held_out.tokens[rows].sum()) for where, rows in groups.items()}
        for model, each in losses.items()
    }
    return found | {"questions": {where: float(rows.sum()) for where, rows in groups.items()}}


def _named(config: SearchConfig, held_out: HeldOut) -> np.ndarray:
    """[rows]: whether the question alone names its category to a multinomial naive Bayes that saw the train questions."""
    train = read(config).select("train")
    words = CountVectorizer(ngram_range=(1, 2)).fit([row.question for row in train])
    bayes = MultinomialNB().fit(words.transform([row.question for row in train]), [row.category for row in train])
    chances = bayes.predict_proba(words.transform([row.question for row in held_out.rows]))
    places = [list(bayes.classes_).index(row.category) for row in held_out.rows]
    return chances[np.arange(len(places)), places] >= SURE


@contextmanager
def _borrowed(home: Path) -> Iterator[None]:
    """LYCEUM_HOME as a new folder whose adapters/ is that of `home`."""
    before = os.environ.get("LYCEUM_HOME")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "adapters").symlink_to(home / "adapters")
        os.environ["LYCEUM_HOME"] = folder
        try:
            yield
        finally:
            os.environ.pop("LYCEUM_HOME")
            if before is not None:
                os.environ["LYCEUM_HOME"] = before


def _do(verb: str, config: Config) -> dict[str, Any]:
    """A verb's function in this process; what it says goes to standard error."""
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        return VERBS[verb].load()(config, Workspace(runs.create(verb, config.model_dump(mode="json"))))
    finally:
        sys.stdout = stdout


def _given(options: argparse.Namespace) -> dict[str, Any]:
    names = ("data", "system_prompt", "base_model", "precision", "device", "trials", "limit", "optimizer")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--homes", nargs="+", default=[str(PROJECT)], help="folders with adapters/, one per seed")
    parser.add_argument("--test_limit", type=int, help="at most this many test rows per category; all, if not said")
    parser.add_argument("--out", help="a JSON file for the figures")
    for name in ("data", "system_prompt", "base_model", "precision", "device", "optimizer"):
        parser.add_argument(f"--{name}", help="as in: python -m core search --help")
    for name in ("trials", "limit"):
        parser.add_argument(f"--{name}", type=int, help="as in: python -m core search --help")
    return parser.parse_args()


if __name__ == "__main__":
    main()
