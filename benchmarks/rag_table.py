"""The tables of docs/rag.md, from the newest comparison of RAG pipelines: `python benchmarks/rag_table.py` prints Markdown."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.markdown import head, row  # noqa: E402
from core import rag_findings, rag_tables  # noqa: E402
from core.rag import NONE  # noqa: E402
from core.rag_tables import RagRun  # noqa: E402
from core.results import ALL  # noqa: E402
from core.wording import three  # noqa: E402

FOUND = ("hit_rate@1", "hit_rate@5", "mrr", "ndcg@10")
ANSWERED = ("perplexity", "bertscore_f1", "rougeL", "grounding")


def main() -> None:
    """Print what was found, the grid by several metrics, and what fixed the answers."""
    runs = rag_tables.finished()
    if not runs:
        sys.exit("There is no finished comparison yet. Make one first: python -m core rag --preset seven_schools")
    found = RagRun(runs[0])
    print("\n\n".join("\n".join(part) for part in (retrieval(found), *(grid(found, metric) for metric in ANSWERED), sentences(found))))


def retrieval(found: RagRun) -> list[str]:
    """Each pipeline's figures on passages (documents for 'parent'), with intervals, and its seconds."""
    lines = head("pipeline", "what is found", *FOUND, "seconds per question")
    table = found.retrieval[found.retrieval["category"] == ALL].set_index(["pipeline", "level", "metric"])
    for pipeline in found.retrievers:
        for level in ("passage", "document"):
            cells = [table.loc[(pipeline, level, metric)] for metric in FOUND]
            told = [f"{cell.value:.3f} ({cell.low:.3f} to {cell.high:.3f})" for cell in cells]
            seconds = found.retrieval[(found.retrieval["pipeline"] == pipeline) & (found.retrieval["metric"] == "seconds")]["value"].iloc[0]
            lines.append(row(pipeline, level, *told, three(seconds)))
    return lines


def grid(found: RagRun, metric: str) -> list[str]:
    """Generators by pipelines. Bold: the 95 % interval of the paired difference to the first cell excludes zero."""
    table = rag_tables.grid(found, metric)
    table = table[table["category"] == ALL].set_index(["generator", "pipeline"])
    pipelines = list(dict.fromkeys(found.cells["pipeline"]))
    lines = head(metric, *pipelines)
    for generator in dict.fromkeys(found.cells["generator"]):
        cells = [table.loc[(generator, pipeline)] for pipeline in pipelines]
        lines.append(row(generator, *(f"**{three(cell.value)}**" if cell.clear else three(cell.value) for cell in cells)))
    return lines


def sentences(found: RagRun) -> list[str]:
    """What the page says of each metric, and of what fixed the answers."""
    said = [rag_findings.answered(found, metric) for metric in ANSWERED if metric in found.metrics]
    said += [rag_findings.together(found, metric) for metric in ANSWERED if metric in found.metrics]
    pairs = found.fixes[["generator", "pipeline"]].drop_duplicates()
    best = [row for row in pairs.itertuples() if row.pipeline != NONE]
    said += [rag_findings.fixed(found, "rougeL", row.generator, row.pipeline) for row in best if row.pipeline == "hybrid"]
    return [f"- {each}" for each in said if each]


if __name__ == "__main__":
    main()
