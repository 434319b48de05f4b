"""Audit verdicts, ours or anybody's: the verb `audit`. Foreign files become verdicts.csv of a run of their own."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from core import paths, results, runs
from core.config import AuditConfig
from core.errors import UserError
from core.judge import audit, themes
from core.judge.formats import FORMATS
from core.judge.formats.content import format_of, stream
from core.judge.formats.record import BadRecord
from core.judge.thresholds import TOO_FEW
from core.judge.verdicts import figures
from core.judge.votes import votes
from core.results import AuditFigure, Verdict
from core.verdict_table import VerdictTable
from core.wording import count
from core.workspace import Workspace


def run(config: AuditConfig, workspace: Workspace) -> dict[str, Any]:
    """Write audit.csv, themes.csv where there are rationales, and verdicts.csv where they are foreign; return the headline figures."""
    found = find(config.verdicts)
    place = load(found, config.format, workspace.path / "verdicts.csv", workspace.run.run_id)
    verdicts = VerdictTable.opened(place, said=partial(_progress, workspace))
    table = verdicts.counted("pair")
    workspace.say(f"{count(len(table), 'verdict')} of {', '.join(verdicts.values['judge'])}, read from {config.verdicts}.")
    for line in _unread(verdicts):
        workspace.say(line)
    card = audit.card(table, config.seed) + audit.with_people(table, votes(), config.seed)
    if config.against:
        other = load(find(config.against), "auto", workspace.scratch / "against.csv", "")
        card += audit.against(table, VerdictTable.opened(other).counted("pair"), config.seed)
    light = audit.lights(card)
    results.write(workspace.path / "audit.csv", [replace(each, run=workspace.run.run_id) for each in card], AuditFigure)
    themed = themes.write(verdicts.spoken(themes.MOST, config.seed), workspace, config.seed)
    for line in said(card, light):
        workspace.say(line)
    names = {column: ", ".join(table[column].unique()) for column in ("judge", "base", "candidate")}
    made = {"verdicts": paths.shown(place), "audit": paths.shown(workspace.path / "audit.csv"), "light": light, "themes": themed}
    return {**made, **names, **figures(table)}


def _progress(workspace: Workspace, done: int, what: str) -> None:
    workspace.event("say", message=f"{count(done, 'verdict')} {what}.")


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


def load(file: Path, kind: str, into: Path, run_id: str) -> Path:
    """A verdicts.csv with the verdicts of a file: that of a run itself, or foreign ones written `into` one, as rows of a run.

    `kind`: their format (auto: found by its keys). Raises UserError when the file is in another, or holds none.
    """
    if file.is_relative_to(paths.results()):
        place, empty = file, next(results.chunks(file, Verdict, 1)).empty
    else:
        first, content = stream(file)
        name = format_of(first, file) if kind == "auto" else kind
        try:
            place = results.write(into, (replace(row, run=run_id) for row in FORMATS[name].load()(content)), Verdict)
        except BadRecord as error:
            raise UserError(f"{file} can't be read as {FORMATS[name].label}: {error}. Say its format, or mend the file.") from None
        empty = next(results.chunks(place, Verdict, 1)).empty
    if empty:
        raise UserError(f"{file} holds no verdicts, so there is nothing to audit. Give another file.")
    return place


def _unread(verdicts: VerdictTable, most: int = 5) -> list[str]:
    """What could not be read as it stands in the file, by its reason, the most frequent ones first."""
    counts = verdicts.reasons()
    lines = [f"{count(number, 'verdict')} of {len(verdicts)}: {reason}." for reason, number in list(counts.items())[:most]]
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
