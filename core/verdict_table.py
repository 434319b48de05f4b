"""A judge run's verdicts, filtered, sorted and turned page by page by DuckDB: no table is held whole.

Whatever the size, verdicts lie as Parquet with their index beside them (core/verdict_index.py); those of a table that isn't large lie in a
folder that goes with the process. Values of filters are bound, never part of the SQL. Light: pandas, numpy and pyarrow, DuckDB inside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core import judging, results, text_search, verdict_index
from core.judge.measures import JUDGED, questions
from core.judge.verdicts import WORDS
from core.results import ALL, Flag, Theme, Verdict, duck, parquet, scratch
from core.results.asked import Asked
from core.results.found import PAGE, Found
from core.results.parquet import Said, silent
from core.verdict_index import COUNTED, MARKS, NAMES, TEXTS

__all__ = ["ANY", "ORDERS", "PAGE", "PEOPLE", "SORTS", "TEXTS", "Filters", "Found", "VerdictTable"]

ANY = "all"
OUTCOMES = ("verdict", "first_verdict", "second_verdict")
LISTED = ("base", "candidate", "judge", "category", *OUTCOMES, *TEXTS)
"""What a page shows of them."""
EXACT = ("category", "candidate", "judge", "verdict")
ORDERS = (ANY, "agree", "disagree")
PEOPLE = (ANY, "voted", "agree", "disagree")
SORTS = {"file": "place", "largest score difference": "from_largest", "smallest score difference": "from_smallest"}
"""What a sort is called -> the column of marks that it goes by."""
FOUND_KEPT = 16


@dataclass(frozen=True)
class Filters:
    """Which verdicts to show; 'all' leaves a filter out."""

    category: str = ANY
    candidate: str = ANY
    judge: str = ANY
    verdict: str = ANY
    orders: str = ANY
    """agree or disagree: whether the two orders gave the same word."""
    length: str = ANY
    """A name of judging.LENGTHS: the candidate's answer beside the base's."""
    flag: str = ANY
    """A flag that either answer has; 'any' for one at all."""
    people: str = ANY
    """voted: people said something; agree or disagree: with the judge."""
    theme: str = ANY
    """Words of a theme of rationales."""
    text: str = ""
    """Stands in question, reference or an answer, in whatever case."""
    low: float = -1.0
    high: float = 1.0
    """Bounds of the score difference."""
    sort: str = "file"
    """A key of SORTS."""


class VerdictTable:
    """Verdicts with what filters need beside them. A row's number is its place in the file, from 0.

    `values`: what stands in each column of EXACT, in the order of the file.
    `flags`, `themes`: those that any row has. `has_references`: whether any row has one, without which the score difference says nothing.
    """

    def __init__(self, rows: Path, index: Path, flags: Asked, themes: Asked) -> None:
        """`rows`: the Parquet folder of verdicts.csv; `index`: of verdict_index. flags.csv of the evaluation that the answers come from,
        and themes.csv."""
        self._rows, self._marks = rows, parquet.files(index)
        self._texts = text_search.Texts(index)
        self._difference = np.load(index / verdict_index.DIFFERENCE, mmap_mode="r")
        self._beside = {"flag": _flagged(rows, flags), "theme": _themed(self._marks, themes)}
        self.flags, self.themes = (list(dict.fromkeys(each["name"].to_pylist())) for each in self._beside.values())
        self.values = {name: list(self.ask(f"SELECT {name} FROM marks GROUP BY {name} ORDER BY min(place)")[name]) for name in EXACT}
        known = self.ask("SELECT count(*) AS rows, coalesce(bool_or(reference <> ''), false) AS given FROM marks")
        self._size, self.has_references = int(known["rows"].iloc[0]), bool(known["given"].iloc[0])
        self._without_people = lru_cache(maxsize=FOUND_KEPT)(self._where)

    @classmethod
    def of(cls, rows: pd.DataFrame, flags: Asked, themes: Asked) -> "VerdictTable":
        """A table that is not large: what is made of it goes when it is used no more."""
        kept = TemporaryDirectory(dir=scratch.folder())
        made = [Path(kept.name) / name for name in ("rows", "index")]
        for folder in made:
            folder.mkdir()
        parquet.write(made[0], [rows], Verdict)
        verdict_index.build(made[0], made[1])
        table = cls(made[0], made[1], flags, themes)
        table._kept = kept  # type: ignore[attr-defined]
        return table

    @classmethod
    def opened(cls, file: Path, flags: Path | None = None, themes: Path | None = None, said: Said = silent) -> "VerdictTable":
        """The verdicts of a file, with flags.csv and themes.csv, if any. What a large table needs is made where it isn't there yet."""
        beside = Asked.opened(flags, Flag), Asked.opened(themes, Theme)
        if parquet.is_large(file, Verdict):
            return cls(parquet.folder(file), verdict_index.made(file, said), *beside)
        return cls.of(results.read(file, Verdict), *beside)

    def __len__(self) -> int:
        return self._size

    def where(self, filters: Filters, people: "pd.Series[str] | None" = None) -> Found:
        """The rows that pass every filter, in the order asked for. `people`: judging.people."""
        return self._without_people(filters) if filters.people == ANY else self._where(filters, people)

    def _where(self, filters: Filters, people: "pd.Series[str] | None" = None) -> Found:
        found = Found(self, SORTS[filters.sort])
        for column in (*EXACT, "length"):
            if (wanted := getattr(filters, column)) != ANY:
                found.keep(f"{column} = ${column}", **{column: wanted})
        if filters.orders != ANY:
            found.keep("first_verdict = second_verdict" if filters.orders == "agree" else "first_verdict <> second_verdict")
        for kind, beside in self._beside.items():
            if (wanted := getattr(filters, kind)) != ANY:
                found.keep_places(kind, beside["place"] if wanted == "any" else beside.filter(pc.equal(beside["name"], wanted))["place"])
        if filters.people != ANY:
            _keep_said(found, filters.people, people)
        if (filters.low, filters.high) != (-1.0, 1.0):
            found.keep("difference BETWEEN $low AND $high", low=filters.low, high=filters.high)
        if text := filters.text.strip():
            found.keep_places("text", pa.array(self._texts.containing(text)))
        return found

    def page(self, found: Found, number: int) -> pd.DataFrame:
        """Page `number`, from 1, of the rows found, with `score_difference`; its index is the row's number in the file."""
        return self._shown(found.places(PAGE, (number - 1) * PAGE))

    def take(self, places: list[int]) -> pd.DataFrame:
        """These rows of verdicts.csv, whole, in the order given."""
        return self._with(places, Verdict.columns(), ["pair"])

    def row(self, place: int) -> pd.Series:
        """One verdict, whole, with base_f1 and candidate_f1."""
        return self._with([place], Verdict.columns(), ["pair", "base_f1", "candidate_f1"]).iloc[0]

    def everything(self) -> pd.DataFrame:
        """All rows, whole, in memory: for what takes verdicts away."""
        rows = pd.concat(parquet.pieces(self._rows, Verdict.columns()), ignore_index=True)
        return rows.assign(pair=self.counted("pair")["pair"].to_numpy())

    def flags_of(self, place: int) -> list[str]:
        """The flags that either answer of a row has."""
        flags = self._beside["flag"]
        return [str(name) for name in flags.filter(pc.equal(flags["place"], place))["name"].to_pylist()]

    def extremes(self, most: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Best and worst cases by rule: wins (losses) in both orders with the largest (smallest) score difference; as of `page`."""
        chosen = (Filters(verdict="fine-tuned", sort="largest score difference"), Filters(verdict="base", sort="smallest score difference"))
        best, worst = (self._shown(self.where(replace(each, orders="agree")).places(most)) for each in chosen)
        return best, worst

    def counted(self, *more: str) -> pd.DataFrame:
        """What counting verdicts needs, of all rows, with numbers for texts: `question` is an id, `reference` says whether there is one,
        `length_difference` stands for the answers. And `more` columns of marks."""
        import pyarrow.parquet as pq

        wanted = dict.fromkeys((*NAMES, "question", "reference", *COUNTED, "length_difference", *more))
        few = [name for name in wanted if name != "pair" and MARKS.field(name).type == pa.string()]
        found = pa.concat_tables(pq.read_table(file, columns=list(wanted), read_dictionary=few) for file in self._marks)
        counted = found.unify_dictionaries().to_pandas()
        return counted.assign(**{name: counted[name].cat.set_categories(["", *WORDS]) for name in OUTCOMES})  # can be compared then

    def sliced(self, by: str, judge: str = ANY) -> tuple[pd.DataFrame, float]:
        """judging.slices by a column, length, flag or theme, and the win rate of the whole; of one judge or of all. Flags may overlap."""
        rows = self.counted("length")
        rows = rows if judge == ANY else rows[rows["judge"] == judge]
        whole = float(judging.slices(rows, pd.Series(ALL, index=rows.index))["win_rate"].iloc[0]) if len(rows) else float("nan")
        if by not in self._beside:
            found = judging.slices(rows, rows[by].astype(str))
            return (found if by != "length" else _in_order(found, list(judging.LENGTHS))), whole
        having = self._beside[by].to_pandas().groupby("name", sort=False)["place"]
        parts = [judging.slices(part := rows[rows.index.isin(places)], pd.Series(name, index=part.index)) for name, places in having]
        return pd.concat(parts, ignore_index=True) if parts else judging.slices(rows.iloc[:0], rows["judge"].iloc[:0]), whole

    def voted(self, people: "pd.Series[str]") -> pd.DataFrame:
        """verdict and pair of the rows whose pair people said something of."""
        said = pa.table({"pair": pa.array(people.index.astype(str), pa.string())})
        return self.ask("SELECT verdict, pair FROM marks WHERE pair IN (SELECT pair FROM said) ORDER BY place", tables={"said": said})

    def reasons(self) -> dict[str, int]:
        """Why verdicts are unparsed or failed: how many have each reason, the most frequent ones first."""
        asked = "SELECT reason, count(*) AS number FROM rows WHERE reason <> '' GROUP BY reason ORDER BY number DESC, min(place)"
        found = Asked(self._rows, Verdict).ask(asked)
        return dict(zip(found["reason"], found["number"].tolist(), strict=True))

    def spoken(self, most: int, seed: int) -> pd.DataFrame:
        """run, judge, pair and rationale of the verdicts that have reasons; of more than `most`, so many drawn by chance."""
        found = Asked(self._rows, Verdict).ask(r"SELECT place FROM rows WHERE regexp_matches(rationale, '\S') ORDER BY place")["place"]
        chosen = found.sample(most, random_state=seed).sort_index() if len(found) > most else found
        return parquet.take(self._rows, chosen.tolist(), ["run", "judge", "rationale"]).assign(
            pair=self._of(chosen.tolist(), ["pair"])["pair"]
        )

    def ask(self, sql: str, values: Mapping[str, Any] | None = None, tables: "Mapping[str, pa.Table] | None" = None) -> pd.DataFrame:
        """The answer to a query of `marks`."""
        marks = "WITH marks AS (SELECT * FROM read_parquet($marks))"
        return duck.ask(f"{marks} {sql}", {**(values or {}), "marks": self._marks}, tables).to_pandas()

    def _shown(self, places: list[int]) -> pd.DataFrame:
        return parquet.take(self._rows, places, LISTED).assign(score_difference=np.asarray(self._difference[places]))

    def _with(self, places: list[int], columns: Sequence[str], more: list[str]) -> pd.DataFrame:
        """Rows of verdicts.csv with columns of marks."""
        beside = self._of(places, more)
        return parquet.take(self._rows, places, columns).assign(**{name: beside[name] for name in more})

    def _of(self, places: list[int], columns: list[str]) -> pd.DataFrame:
        """Columns of marks of these rows, in their order."""
        asked = f"SELECT place, {', '.join(columns)} FROM marks WHERE place IN (SELECT unnest($places))"
        return self.ask(asked, {"places": places}).set_index("place").loc[places]


def _keep_said(found: Found, wanted: str, people: "pd.Series[str] | None") -> None:
    """Only the rows of which people said something, or the same as the judge, or something else."""
    said = pd.Series(dtype=str) if people is None else people
    columns = {"pair": pa.array(said.index.astype(str), pa.string()), "word": pa.array(said.to_numpy(dtype=object), pa.string())}
    found.keep("pair IN (SELECT pair FROM said)", {"said": pa.table(columns)})
    if wanted != "voted":
        same = "(pair, verdict) IN (SELECT (pair, word) FROM said)"
        found.keep(f"list_contains($judged, verdict) AND {same if wanted == 'agree' else f'NOT {same}'}", judged=list(JUDGED))


def _flagged(rows: Path, flags: Asked) -> pa.Table:
    """place, name: the flags that either answer of each row has, in the order of the rows. `rows`: the Parquet of verdicts.csv."""
    same = "f.category = v.category AND f.question = v.question"
    verdicts = parquet.placed("verdicts")
    sides = (
        f"SELECT v.place, flag AS name FROM ({verdicts}) AS v JOIN rows AS f ON {same} AND model = {side}" for side in ("base", "candidate")
    )
    return flags.arrow(f"FROM ({' UNION '.join(sides)}) ORDER BY place, name", {"verdicts": parquet.files(rows)})


def _themed(marks: list[str], themes: Asked) -> pa.Table:
    """The same of the themes (their words) of each row's rationale."""
    same = "t.judge = v.judge AND t.pair = v.pair"
    sql = f"SELECT DISTINCT v.place, words AS name FROM read_parquet($marks) AS v JOIN rows AS t ON {same} ORDER BY v.place, name"
    return themes.arrow(sql, {"marks": marks})


def counted(file: Path) -> pd.DataFrame:
    """What counting the verdicts of a file needs: its rows, or of a large table those of `VerdictTable.counted`."""
    return VerdictTable.opened(file).counted() if parquet.is_large(file, Verdict) else results.read(file, Verdict)


def sample(rows: pd.DataFrame, most: int, seed: int = 0) -> pd.DataFrame:
    """All rows of questions drawn by chance, about `most` rows in all; the whole table where it has no more."""
    if len(rows) <= most:
        return rows
    asked = questions(rows)
    drawn = np.random.default_rng(seed).permutation(asked.max() + 1)
    return rows[drawn[asked] < most / len(rows) * len(drawn)]


def _in_order(found: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return found.sort_values("slice", key=lambda column: column.map(names.index), ignore_index=True)
