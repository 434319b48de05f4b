"""Audit verdicts, ours or anybody's: the verb `audit`. Foreign files become verdicts.csv of a run of their own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import paths, results, runs
from core.config import AuditConfig
from core.errors import UserError
from core.judge import audit, themes
from core.judge.formats import FORMATS
from core.judge.formats.content import format_of, read
from core.judge.formats.record import BadRecord
from core.judge.measures import pair_ids
from core.judge.thresholds import TOO_FEW
from core.judge.verdicts import figures
from core.judge.votes import votes
from core.results import AuditFigure, Verdict
from core.runs import Workspace
from core.wording import count

if TYPE_CHECKING:
    import pandas as pd


def run(config: AuditConfig, workspace: Workspace) -> dict[str, Any]:
    """Write audit.csv, themes.csv where there are rationales, and verdicts.csv where they are foreign; return the headline figures."""
    place = find(config.verdicts)
    table = load(place, config.format)
    if not place.is_relative_to(paths.results()):
        table = table.assign(run=workspace.run.run_id)
        place = results.write(workspace.path / "verdicts.csv", _rows(table), Verdict)
    workspace.say(f"{len(table)} verdicts of {', '.join(dict.fromkeys(table['judge']))}, read from {config.verdicts}.")
    for line in _unread(table):
        workspace.say(line)
    card = audit.card(table, config.seed) + audit.with_people(table, votes(), config.seed)
    if config.against:
        card += audit.against(table, load(find(config.against), "auto"), config.seed)
    light = audit.lights(card)
    results.write(workspace.path / "audit.csv", [replace(each, run=workspace.run.run_id) for each in card], AuditFigure)
    found = themes.write(table, workspace, config.seed)
    for line in said(card, light):
        workspace.say(line)
    names = {column: ", ".join(dict.fromkeys(table[column])) for column in ("judge", "base", "candidate")}
    made = {"verdicts": paths.shown(place), "audit": paths.shown(workspace.path / "audit.csv"), "light": light, "themes": found}
    return {**made, **names, **figures(_rows(table))}


def find(given: str) -> Path:
    """The verdicts of a run, of the newest run that has some ('last'), or a file. Raises UserError."""
    if given == "last":
        done = [run.path / "verdicts.csv" for run in runs.listing(status="done") if (run.path / "verdicts.csv").exists()]
        if not done:
            raise UserError("No judge run is finished yet, so there are no last verdicts. Run: python -m core judge")
        return done[0]
    path = Path(given).expanduser()
    for place in (paths.results() / path / "verdicts.csv", path / "verdicts.csv", path):
        if place.is_file():
            return place
    raise UserError(
        f"There are no verdicts at '{given}': it is neither a run in {paths.results()} that has a verdicts.csv, nor a file. "
        "Give the run id of a judge run, a path, or 'last'."
    )


def load(file: Path, kind: str) -> "pd.DataFrame":
    """Verdicts in the format `kind` (auto: found by its keys), with an id for every pair. Raises UserError when the file is in another."""
    import pandas as pd

    if file.is_relative_to(paths.results()):
        table = results.read(file, Verdict)
    else:
        content = read(file)
        name = format_of(content, file) if kind == "auto" else kind
        try:
            rows: list[Verdict] = FORMATS[name].load()(content)
        except BadRecord as error:
            raise UserError(f"{file} can't be read as {FORMATS[name].label}: {error}. Say its format, or mend the file.") from None
        table = pd.DataFrame(rows, columns=Verdict.columns())
    if table.empty:
        raise UserError(f"{file} holds no verdicts, so there is nothing to audit. Give another file.")
    return table.assign(pair=pair_ids(table))


def _unread(table: "pd.DataFrame", most: int = 5) -> list[str]:
    """What could not be read as it stands in the file, by its reason, the most frequent ones first."""
    counts = Counter(table["reason"][table["reason"] != ""])
    lines = [f"{count(number, 'verdict')} of {len(table)}: {reason}." for reason, number in counts.most_common(most)]
    return [*lines, *([f"{count(len(counts) - most, 'more reason')} in the column reason of verdicts.csv."] if len(counts) > most else [])]


def said(card: Sequence[AuditFigure], light: str) -> list[str]:
    """The card in lines: what has a light, and the win rates unless the light is red."""
    names = () if light == "red" else _HEADLINES
    together = [each for each in card if each.judge == ""] or card
    shown = [each for each in together if each.value is not None and (each.light or each.figure in names)]
    lines = [f"{each.figure}: {each.value:.1%} ({_interval(each)}n {each.n}){f', {each.light}' if each.light else ''}." for each in shown]
    withheld = " The headline is withheld: the judge can't be trusted with it." if light == "red" else ""
    few = [each.figure for each in shown if TOO_FEW in each.note]
    unsure = f" Too few verdicts to rule out more: {', '.join(few)}." if few else ""
    untested = next((f" {audit.UNTESTED}." for each in together if each.note.startswith(audit.UNTESTED)), "")
    return [*lines, f"The card is {light}.{withheld}{unsure}{untested}"]


_HEADLINES = ("win_rate", "length_controlled_win_rate")


def _interval(figure: AuditFigure) -> str:
    return "" if figure.low is None or figure.high is None else f"95 % interval {figure.low:.1%} to {figure.high:.1%}, "


def _rows(table: "pd.DataFrame") -> list[Verdict]:
    import pandas as pd

    known = table[Verdict.columns()].astype(object)
    records = known.where(pd.notna(known), None).to_dict("records")
    return [Verdict(**{str(key): value for key, value in record.items()}) for record in records]
