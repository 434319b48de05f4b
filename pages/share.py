"""Share: evidence as a file that opens without a server, to be made here and sent to whoever should see it."""

import streamlit as st

from core import findings, paths, queries, read_only, runs
from core.runs import Run
from core.wording import MISSING, count, duration, plain, seconds_between
from pages import evaluations, form, frame, parts

FIELDS = ["evaluation", "title"]
HOLDS = (
    "**The claim** with its interval, the problem, and how models were made and asked",
    "**Three answers before and after**, chosen by rule: best, median, worst",
    "**Figures** as interactive charts, each with its finding in words and its numbers a click away",
    "**The judges**: outcomes, the audit card of each, people's votes, and every verdict with search and filters",
    "**Costs, limits and what next**, and the versions to do it again",
    "Beside it **a zip** with all tables, settings and verdicts in LLM Comparator's format",
)
MAIL_MB = 20
"""What most mail servers take."""


def bundles() -> list[Run]:
    """Finished bundles that are still there, newest first, the stages of studies among them."""
    return [run for run in runs.listing("report", "done") if (run.path / "report.html").exists()]


def finding(made: list[Run]) -> str:
    """What can be shared, in a sentence."""
    if not made:
        return "One file holds the claim, the evidence and every verdict. It opens in any browser, without a server, a network or a key."
    newest = made[0]
    size = f"{newest.outputs['html_bytes'] / 1e6:.1f} MB"
    return f"{count(len(made), 'bundle')} so far. The newest, {size}, opens in any browser without a server: {newest.outputs['title']}."


def preview(evaluation: Run) -> None:
    """What a bundle of this evaluation would hold."""
    found = evaluations.opened(evaluation)
    with st.container(border=True):
        st.caption("A bundle of the newest evaluation begins with")
        st.markdown(plain(findings.evaluation(found, evaluations.gains(evaluation, found.compared))))
        st.markdown("\n".join(f"- {line}" for line in HOLDS))


def listed(made: list[Run], chosen: str | None) -> None:
    """Each bundle with its size and its files; the one that the address names first."""
    st.subheader("Bundles", anchor=False)
    for run in sorted(made, key=lambda run: run.run_id != chosen):
        with st.container(border=True):
            st.markdown(f"**{plain(run.outputs['title'])}**")
            evaluation, judged = run.outputs["evaluation"][-4:], count(len(run.outputs["judged"]), "judge run")
            took = duration(seconds_between(run.started_at, run.finished_at))
            st.caption(plain(f"{parts.label(run)} · evaluation {evaluation}, {judged} · made in {took}"))
            files(run)


def files(run: Run) -> None:
    """Downloads, read when they are pressed."""
    with st.container(horizontal=True):
        for name, mime, label in (("report.html", "text/html", "Page"), ("report.zip", "application/zip", "Zip of all tables")):
            file = run.path / name
            size = f"{file.stat().st_size / 1e6:.1f} MB" if file.exists() else MISSING
            st.download_button(
                f"{label} ({size})",
                file.read_bytes,
                f"{paths.slug(run.outputs['title'])}-{run.run_id[-4:]}{file.suffix}",
                mime,
                on_click="ignore",
                icon=":material/download:",
                key=f"{run.run_id}-{name}",
                disabled=not file.exists(),
            )


def hints() -> None:
    """How to pass it on."""
    st.subheader("How to pass it on", anchor=False)
    st.markdown(
        f"- **By mail**: attach the page. Most mail servers take {MAIL_MB} MB; a larger one goes by a link to a shared folder.\n"
        "- **As PDF**: open the page and print it. Charts stand as they are, what folds is open, and the verdict browser shows its page.\n"
        "- **As a link**: the page is one file, so any web space can hold it.\n"
        "- **As a demo**: `LYCEUM_READ_ONLY=1` starts this app so that visitors can look at all, talk to the models and vote, and change "
        "nothing: see docs/sharing.md."
    )


frame.enter()
done = queries.runs_with("evaluate", "answers.csv")
made_bundles = bundles()
if done or made_bundles:
    parts.head("Share", finding(made_bundles))
    parts.watch("report")
    if made_bundles:
        listed(made_bundles, st.query_params.get("bundle"))
    if done and not read_only.active():
        st.subheader("Make a bundle", anchor=False)
        preview(done[0])
        judged = [run.run_id for run in queries.runs_with("judge", "verdicts.csv")]
        form.form("report", "Make a bundle", FIELDS, {"evaluation": ["last", *(run.run_id for run in done)], "judged": judged})
    hints()
else:
    parts.empty(
        "Share",
        "One file that holds the claim, the evidence and every verdict, and opens in any browser without a server.",
        "Whoever gets it can see in two minutes what was done, whether it worked, and how sure that is.",
        "Evaluate first",
        "evaluate",
    )
    parts.watch("report")
