"""TEST MATERIAL: the made-up evaluation of `sample.py` with a route and questions about other matters. No figure in here was measured."""

from dataclasses import replace

from core import results
from core.results import ALL, GENERAL, Answer, Model, RouteWeight, Score
from core.runs import Run
from tests.pages import sample

ROUTE = "learned_route"
OTHERS = ("Why is the sky blue?", "How many days has a week?", "What is bread made of?")


def evaluate() -> Run:
    """The route finds the own adapter for every second question, and loses 0.2 nats per token against it on the others."""
    run = sample.evaluate()
    answers = [Answer(**row) for row in results.read(run.path / "answers.csv", Answer).to_dict("records")]
    own = [row for row in answers if row.model == f"{row.category}-lora"]
    routed = [
        replace(row, model=ROUTE, reference_loss=row.reference_loss + place % 2 * 0.2 * row.reference_tokens)
        for place, row in enumerate(own)
    ]
    models = ["base", *(f"{school}-lora" for school in sample.SCHOOLS), ROUTE]
    other = [
        Answer(run.run_id, model, GENERAL, question, "An answer.", "It is so.", 20.0 + (model != "base") * (4 + place), 10, "stop")
        for model in models
        for place, question in enumerate(OTHERS)
    ]
    results.append(run.path / "models.csv", [Model(ROUTE, "route", "", f"merged_adapters/{ROUTE}", "0" * 16)], Model)
    results.append(run.path / "answers.csv", [*routed, *other], Answer)
    results.append(run.path / "scores.csv", _scores(run.run_id, models), Score)
    results.write(
        run.path / "route_weights.csv", _weights(run.run_id, [*routed, *(row for row in other if row.model == ROUTE)]), RouteWeight
    )
    return run


def _scores(run: str, models: list[str]) -> list[Score]:
    general = [
        Score(run, model, GENERAL, "perplexity", 12.0 if model == "base" else 15.0, 3, 7.0, 20.0, "test material") for model in models
    ]
    return general + [
        Score(run, ROUTE, category, "perplexity", 26.0, 23, 24.0, 28.0, "test material") for category in (*sample.SCHOOLS, ALL)
    ]


def _weights(run: str, rows: list[Answer]) -> list[RouteWeight]:
    """Of every second question the largest weight goes to its own adapter, of the others to the next school's."""
    made = []
    for place, row in enumerate(rows):
        known = row.category in sample.SCHOOLS
        first = (sample.SCHOOLS.index(row.category) + place % 2) % 7 if known else 0
        for number, school in enumerate(sample.SCHOOLS):
            weight = 0.7 if number == first else 0.05
            made.append(RouteWeight(run, ROUTE, row.category, row.question, f"{school}-lora", weight, int(school == row.category)))
    return made
