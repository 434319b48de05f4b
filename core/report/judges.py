"""What judges and people said: who won and how sure, each judge's audit card, votes, and claims of others held against these runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from core import findings, results, verdict_findings
from core.judge import audit, people
from core.report.markup import Markup, element, folded, joined, listing, paragraph, table
from core.report.pictures import versus
from core.report.sources import JudgedRun, Sources
from core.results import ALL, AuditFigure
from core.verdict_findings import Judged
from core.wording import count, percent

NOBODY = "Nobody has judged these answers yet."
WITHHELD = "withheld"


def summary(sources: Sources) -> Markup:
    """One row for each judged run and judge."""
    rows = [_summary_row(each, judged) for each in sources.judged for judged in each.judges.values()]
    columns = ("judged", "judge", "n", "wins", "ties", "losses", "lost", "win rate, 95 % interval", "audit")
    return table(rows, columns, "Judged pairs") if rows else paragraph(NOBODY)


def _summary_row(each: JudgedRun, judged: Judged) -> Sequence[str]:
    whole = judged.rates[judged.rates["category"] == ALL].iloc[0]
    names = versus(each, judged.judge), verdict_findings.named(judged.judge)
    number = f"{int(whole['n']):,}"
    lost = f"{int(whole['failed'] + whole['not_asked']):,}"
    if judged.withheld:
        return *names, number, *[WITHHELD] * 3, lost, WITHHELD, judged.light
    counts = (f"{int(whole[name]):,}" for name in ("wins", "ties", "losses"))
    rate = f"{percent(whole['win_rate'])} ({percent(whole['low'])} to {percent(whole['high'])})"
    return *names, number, *counts, lost, rate, judged.light


def cards(sources: Sources) -> Markup:
    """The audit card of each judge in each run."""
    return element("div", *(_card(each, judged) for each in sources.judged for judged in each.judges.values()), class_="cards")


def _card(each: JudgedRun, judged: Judged) -> Markup:
    light, tested = judged.light, verdict_findings.order_tested(judged.figures)
    badge = element("p", f"{light}: {verdict_findings.meaning(light, tested)}", class_=f"light {light}") if light else Markup()
    why = paragraph(verdict_findings.withheld(judged)) if judged.withheld else Markup()
    figures = verdict_findings.carded(judged.figures)
    title = element("h4", verdict_findings.named(judged.judge), element("small", versus(each, judged.judge)))
    whole = folded("Every figure, and how it was taken", _whole(judged))
    lines = element("ul", *(element("li", *_line(figure)) for figure in figures.to_dict("records")))
    return element("article", title, badge, why, lines, whole, class_="card")


def _line(figure: Mapping[str, Any]) -> Sequence[str]:
    name, light = verdict_findings.label(figure["figure"]), str(figure["light"])
    if pd.isna(figure["value"]):
        return (f"{name}: order not tested. No pair was answered in both orders.",)
    spread = verdict_findings.spread(figure["figure"], figure["low"], figure["high"], int(figure["n"]))
    sign = element("span", light, class_=f"dot {light}") if light else ""
    return f"{name}: ", element("b", verdict_findings.value(figure["figure"], figure["value"])), f" ({spread}) ", sign


def _whole(judged: Judged) -> Markup:
    figures = verdict_findings.lit(verdict_findings.told(judged.figures))
    rows = [
        (
            verdict_findings.label(row.figure),
            verdict_findings.value(row.figure, row.value),
            verdict_findings.spread(row.figure, row.low, row.high, int(row.n)),
            row.light,
            row.note,
        )
        for row in figures.itertuples()
    ]
    return table(rows, ("figure", "value", "interval, n", "light", "how"), f"Audit of {judged.judge}")


def by_people(sources: Sources) -> Markup:
    """What people said of the same pairs, candidate by candidate, and how far each judge agrees; nothing where nobody voted."""
    votes = sources.votes
    if votes.empty:
        return Markup()
    said = [f"{candidate}: {people.finding(mine)}" for candidate, mine in votes.groupby("candidate", sort=False)]
    blind = f"{int(votes['blind'].sum()):,} of {count(len(votes), 'vote')} were given with names hidden."
    return joined([element("h3", "People"), listing(said), paragraph(blind, "quiet"), listing(_agreement(sources))])


def _agreement(sources: Sources) -> list[str]:
    lines = []
    for each in sources.judged:
        figures = pd.DataFrame(audit.with_people(each.rows, sources.votes), columns=AuditFigure.columns()).dropna(subset=["value"])
        for row in figures.itertuples():
            said = verdict_findings.value(row.figure, row.value)
            spread = verdict_findings.spread(row.figure, row.low, row.high, int(row.n))
            lines.append(f"{verdict_findings.named(row.judge)}: {verdict_findings.label(row.figure)} {said} ({spread})")
    return list(dict.fromkeys(lines))


def claims(sources: Sources) -> Markup:
    """The ledger of claims; nothing where it was not held against this evaluation."""
    if not sources.claims:
        return Markup()
    ledger = results.read(sources.claims.path / "claims.csv", results.Claim)
    rows = [(row.statement, row.theirs, " ".join(findings.our_figure(row)).strip(), row.holds, row.how) for row in ledger.itertuples()]
    return joined([paragraph(findings.claims(ledger)), table(rows, ("claim", "theirs", "ours", "verdict", "how ours was taken"), "Claims")])
