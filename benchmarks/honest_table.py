"""The tables of the README, from the newest evaluation and its verdicts: `python benchmarks/honest_table.py` prints Markdown."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core import judging, queries, results, verdict_findings
from core.queries import OWN, Evaluation
from core.results import ALL
from core.wording import percent, three

OTHER_METRICS = ("bertscore_f1", "bleu", "rouge1", "rougeL")


def main() -> None:
    """Print perplexity per category, the other metrics, and the verdicts."""
    newest = queries.runs_with("evaluate", "answers.csv")
    if not newest:
        sys.exit("There is no finished evaluation yet. Make one first: python -m core evaluate")
    found = queries.evaluation(newest[0])
    print("\n\n".join("\n".join(part(found)) for part in (perplexities, other_metrics, verdicts)))


def perplexities(found: Evaluation) -> list[str]:
    """Perplexity per category; bold: the 95 % interval of the difference to the base excludes zero."""
    models = found.compared
    table = queries.gains(found, models).set_index(["category", "model"])
    lines = _head("perplexity (lower is better)", "n", found.baseline, *models, "best other adapter")
    for category in [*found.categories, ALL]:
        cells = [table.loc[category, model] for model in models]
        marks = [f"**{three(cell.value)}**" if cell.low > 0 or cell.high < 0 else three(cell.value) for cell in cells]
        lines.append(_row(category, str(int(cells[0].n)), three(cells[0].base), *marks, _best_other(found, category)))
    drops = [table.loc[ALL, model] for model in models]
    lines.append(_row("drop from base, 95 % interval", "", "", *(f"{three(d.low)} to {three(d.high)}" for d in drops), ""))
    return lines


def other_metrics(found: Evaluation) -> list[str]:
    """Means of the categories' scores, each category scored by itself."""
    lines = _head("mean over the categories (higher is better)", found.baseline, *found.compared)
    for metric in filter(set(found.scores["metric"]).__contains__, OTHER_METRICS):
        scores = found.scores[(found.scores["metric"] == metric) & (found.scores["category"] != ALL)].set_index(["category", "model"])
        cells = []
        for model in (found.baseline, *found.compared):
            who = [(category, found.own(category) if model == OWN else model) for category in found.categories]
            cells.append(three(scores.loc[who, "value"].mean()))
        lines.append(_row(metric, *cells))
    return lines


def verdicts(found: Evaluation) -> list[str]:
    """Win, tie and loss against the base, by every judged run of this evaluation."""
    lines = _head("judged against base", "judge", "wins", "ties", "losses", "failed", "win rate, 95 % interval")
    for run in queries.runs_with("judge", "verdicts.csv"):
        table = results.read(run.path / "verdicts.csv", results.Verdict)
        if Path(run.outputs["answers"]).parent.name != found.run.run_id:
            continue
        rate = judging.win_rates(table).iloc[0]
        share = f"{percent(rate.win_rate)} ({percent(rate.low)} to {percent(rate.high)})"
        who = (verdict_findings.candidate_name(table), verdict_findings.judge_name(table))
        lines.append(_row(*who, *(str(int(rate[word])) for word in ("wins", "ties", "losses", "failed")), share))
    return lines


def _best_other(found: Evaluation, category: str) -> str:
    """The lowest perplexity that an adapter of another category reaches here."""
    if category == ALL:
        return ""
    others = [model for model in found.of_role("own") if model != found.own(category)]
    answers = found.answers[found.answers["category"] == category]
    return three(min((queries.perplexity(answers[answers["model"] == model]) for model in others), default=None))


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*["---"] * len(cells))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
