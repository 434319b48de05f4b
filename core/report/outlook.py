"""What a bundle does not show, and what to do next: sentences that rest on the data."""

from core.queries import OWN
from core.report.method import leaks, seeds, share_cut
from core.report.sources import Sources
from core.results import ALL
from core.verdict_findings import ORDERLESS
from core.wording import count, listed, percent, three

FEW = 30
"""Questions of a category below which its interval is wide and its bootstrap rough."""
MUCH_CUT = 0.2
"""Share of cut answers from which they are spoken of."""


def limits(sources: Sources) -> list[str]:
    """What it does not show."""
    always = [
        "Perplexity says how likely a model finds the reference answers, not how good its own answers are.",
        f"All questions come from {sources.dataset}: how the models do on other questions is not measured here.",
    ]
    return [*always, *_about_data(sources), *_about_answers(sources), *_about_judges(sources)]


def _about_data(sources: Sources) -> list[str]:
    number = sources.evaluation.answers_of(sources.evaluation.baseline).groupby("category", sort=False).size()
    few = number[number < FEW]
    said = []
    if len(few):
        said.append(f"{_categories(list(few.index), len(number))} fewer than {FEW} questions (the fewest: {few.min()}).")
    if len(found := list(seeds(sources))) == 1:
        said.append(f"The models were trained with one seed ({found[0]}): the intervals are over questions, not over training runs.")
    if number_of_leaks := leaks(sources):
        said.append(
            f"{count(number_of_leaks, 'held-out row nearly repeats', 'held-out rows nearly repeat')} a row of another split: see leaks.csv."
        )
    if sources.evaluation.general.empty:
        said.append("Whether tuning made the models forget other matters was not asked.")
    return said


def _categories(names: list[str], of: int) -> str:
    return "Every category has" if len(names) == of else f"{listed(names)} {'has' if len(names) == 1 else 'have'}"


def _about_answers(sources: Sources) -> list[str]:
    found = sources.evaluation
    cut = {model: share_cut(sources, model) for model in (found.baseline, *found.compared)}
    names = [f"{'own adapters' if model == OWN else model} {words}" for model, (share, words) in cut.items() if share > MUCH_CUT]
    return [f"Answers that were cut at the longest length (shares: {listed(names)}) count as they stand."] if names else []


def _about_judges(sources: Sources) -> list[str]:
    judges = {name: judged for each in sources.judged for name, judged in each.judges.items()}
    if not judges:
        return ["Nobody has judged the answers: that a reference becomes likelier does not say that readers like the answers better."]
    said = []
    if all(name.startswith(ORDERLESS) for name in judges):
        said.append("The only judges are baselines that read no meaning; no language model judged.")
    red = [name for name, judged in judges.items() if judged.withheld]
    said += [f"What {name} said is not told, since its audit card is red." for name in red]
    return [*said, *(["No person has voted on these answers."] if sources.votes.empty else [])]


def steps(sources: Sources) -> list[str]:
    """What next, each with its reason and the command for it."""
    return [*_more_data(sources), *_other_models(sources), *_more_judges(sources)] or ["Nothing stands out. Try it on new questions."]


def _more_data(sources: Sources) -> list[str]:
    gains, first = sources.gains, (sources.evaluation.compared or [""])[0]
    mine = gains[(gains["model"] == first) & (gains["category"] != ALL)]
    unclear = list(mine.loc[(mine["low"] <= 0) & (mine["high"] >= 0), "category"])
    worse = list(mine.loc[mine["high"] < 0, "category"])
    number = sources.evaluation.answers_of(sources.evaluation.baseline).groupby("category", sort=False).size()
    said = [f"Look at the rows of {listed(worse)}: tuning made the reference answers less likely there."] if worse else []
    if unclear:
        said.append(f"Collect more rows of {listed(unclear)}, or train longer: no difference from the base was seen there.")
    if len(few := number[number < FEW]):
        said.append(f"Ask more questions of {listed(list(few.index))}: with {FEW} or more the intervals become narrower.")
    if leaks(sources):
        said.append("Remove the rows that stand in two splits, and train and evaluate again.")
    return said


def _other_models(sources: Sources) -> list[str]:
    found, gains = sources.evaluation, sources.gains
    if not found.compared:
        return ["Train an adapter, and evaluate it beside the base: python -m core train"]
    whole = gains[gains["category"] == ALL].set_index("model")
    merges = [name for name in found.of_role("merged") if name in whole.index]
    said = []
    if OWN in whole.index and merges and not found.of_role("route"):
        best = whole.loc[merges, "value"].min()
        if best > whole.loc[OWN, "value"]:
            kept = (whole.loc[OWN, "base"] - best) / (whole.loc[OWN, "base"] - whole.loc[OWN, "value"])
            said.append(
                f"Try a route, which picks adapters for each question: the best merge has perplexity {three(best)} and keeps "
                f"{percent(kept)} of the own adapters' gain. python -m core route"
            )
    if OWN in whole.index and not merges:
        said.append("Merge the adapters, so that one model serves every category: python -m core merge")
    if len(list(seeds(sources))) == 1:
        said.append("Train again with other seeds: it says how much of a difference is luck. python -m core train --seed 1")
    if share_cut(sources, found.compared[0])[0] > MUCH_CUT:
        said.append("Allow longer answers (max_new_tokens): many were cut.")
    return said


def _more_judges(sources: Sources) -> list[str]:
    judges = {name: judged for each in sources.judged for name, judged in each.judges.items()}
    said = []
    if any(judged.withheld for judged in judges.values()):
        said.append("Ask a larger judge: the audit card of the one that is withheld is red. python -m core judge --backend groq")
    elif all(name.startswith(ORDERLESS) for name in judges):
        said.append("Ask a language model which answers are better, in both orders: python -m core judge --backend groq")
    if sources.votes.empty:
        said.append("Ask people, with names hidden: python -m core arena")
    return said
