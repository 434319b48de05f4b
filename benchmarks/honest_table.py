"""The tables of docs/results.md, from the newest evaluation and its verdicts: `python benchmarks/honest_table.py` prints Markdown."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd  # noqa: E402

from benchmarks.markdown import head, row  # noqa: E402
from core import judging, queries, results, verdict_findings
from core.judge import audit
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
    lines = head("perplexity (lower is better)", "n", found.baseline, *models, "best other adapter")
    for category in [*found.categories, ALL]:
        cells = [table.loc[category, model] for model in models]
        marks = [f"**{three(cell.value)}**" if cell.low > 0 or cell.high < 0 else three(cell.value) for cell in cells]
        lines.append(row(category, str(int(cells[0].n)), three(cells[0].base), *marks, _best_other(found, category)))
    drops = [table.loc[ALL, model] for model in models]
    lines.append(row("drop from base, 95 % interval", "", "", *(f"{three(d.low)} to {three(d.high)}" for d in drops), ""))
    return lines


def other_metrics(found: Evaluation) -> list[str]:
    """Means of the categories' scores, each category scored by itself."""
    lines = head("mean over the categories (higher is better)", found.baseline, *found.compared)
    for metric in filter(set(found.scores["metric"]).__contains__, OTHER_METRICS):
        scores = found.scores[(found.scores["metric"] == metric) & (found.scores["category"] != ALL)].set_index(["category", "model"])
        cells = []
        for model in (found.baseline, *found.compared):
            who = [(category, found.own(category) if model == OWN else model) for category in found.categories]
            cells.append(three(scores.loc[who, "value"].mean()))
        lines.append(row(metric, *cells))
    return lines


def verdicts(found: Evaluation) -> list[str]:
    """Wins, ties and losses by every judge of this evaluation, with its audit; a red card withholds who won."""
    lines = head(
        "judged", "judge", "wins", "ties", "losses", "lost", "win rate, 95 % interval", "changed with the order", "first shown won", "audit"
    )
    for run in reversed(judging.runs_on(found.run)):
        table = results.read(run.path / "verdicts.csv", results.Verdict)
        figures = audit.card(table, seed=0)
        for judge in dict.fromkeys(table["judge"]):
            lines.append(_verdict_row(table[table["judge"] == judge], {each.figure: each for each in figures if each.judge == judge}))
    return lines


def _verdict_row(table: pd.DataFrame, card: dict[str, results.AuditFigure]) -> str:
    light, rate = audit.lights(list(card.values())), judging.win_rates(table).iloc[0]
    who = f"{verdict_findings.candidate_name(table)} against {table['base'].iloc[0]}"
    won = [str(int(rate[word])) for word in ("wins", "ties", "losses", "failed")]
    share = f"{percent(rate.win_rate)} ({percent(rate.low)} to {percent(rate.high)})" if light != "red" else "withheld"
    order = [percent(card[name].value) for name in ("flip_rate", "first_position_rate")]
    return row(who, verdict_findings.judge_name(table), *won, share, *order, light)


def _best_other(found: Evaluation, category: str) -> str:
    """The lowest perplexity that an adapter of another category reaches here."""
    if category == ALL:
        return ""
    others = [model for model in found.of_role("own") if model != found.own(category)]
    answers = found.answers[found.answers["category"] == category]
    return three(min((queries.perplexity(answers[answers["model"] == model]) for model in others), default=None))


if __name__ == "__main__":
    main()
