"""The grid of generators and pipelines: each cell answers as its model would alone, and a broken-off grid goes on where it was."""

import pytest
import torch

from core import adapter, paths, runs
from core.adapter import Adapter, Factor
from core.answering import ask
from core.answering.kept import Kept
from core.answering.models import find_models, own_adapters
from core.config import RagConfig
from core.data.prompt import Prompter
from core.errors import UserError
from core.models import load
from core.models.choosing import Sampling
from core.models.generate import generate
from core.rag.grid import Probe, Reading, fill
from core.rag.prompts import user_text
from core.workspace import Workspace

TEXTS = {"p1": "Patience is a bitter plant.", "p2": "Its fruit is sweet.", "p3": "Anger burns."}
FOUND = {"none": [], "dense": ["p1", "p2"], "bm25": ["p3", "p1"]}


@pytest.fixture
def base(tiny_base):
    return load.load(str(tiny_base), precision="fp32", device="cpu")


@pytest.fixture
def generators(base):
    """The base, and own adapters of two categories."""
    for seed, category in ((1, "cynic"), (2, "kural")):
        chance = torch.Generator().manual_seed(seed)
        factors = {
            layer: Factor(
                0.3 * torch.randn(2, module.in_features, generator=chance), 0.3 * torch.randn(module.out_features, 2, generator=chance), 0.5
            )
            for layer, module in base.model.named_modules()
            if layer.endswith(("q_proj", "v_proj"))
        }
        info = {"role": "own", "categories": [category], "base_model": base.name, "base_hash": base.content_hash, "quantization": "none"}
        adapter.write(Adapter(f"{category}-lora", factors, base.hub_name, info), paths.adapters() / f"{category}-lora")
    return [*find_models(["base"], base, print), own_adapters(base, print)]


def probes(count=3, **fields):
    kinds = ("cynic", "kural")
    return [
        Probe(f"q{number}", "", f"What is patience, asked {number}?", "A virtue.", kinds[number % 2], **fields) for number in range(count)
    ]


def filled(base, generators, probes, workspace, **fields):
    config = RagConfig(pipelines=list(FOUND), models=["base", "own"], max_new_tokens=6, **fields)
    return fill(config, base, generators, probes, lambda pipeline, text: Reading(FOUND[pipeline], 0.25), TEXTS, workspace)


def workspace():
    return Workspace(runs.create("rag", {}))


def test_each_cell_answers_as_its_model_does_alone_to_the_same_prompt(base, generators):
    given = filled(base, generators, probes(), workspace())
    assert len(given) == 2 * 3 * 3
    prompter = Prompter(base.tokenizer, None, 2048)
    for each in given:
        made = each.answer
        asked = user_text(made.asked, [TEXTS[name] for name in FOUND[made.pipeline]])
        prompt = prompter.prompt(asked, "")
        assert made.prompt_tokens == len(prompt)
        assert made.passages == " | ".join(FOUND[made.pipeline])
        if made.generator == "base":
            [alone] = generate(base, [prompt], max_new_tokens=6, batch_size=1)
            assert (made.prediction, made.finish) == (alone.text, alone.finish)
    by_cell = {(each.answer.question_id, each.answer.model): each for each in given}
    assert by_cell["q1", "own + dense"].reference_loss != by_cell["q1", "base + dense"].reference_loss


def test_own_is_the_adapter_of_the_questions_category(base, generators):
    from core.bank import AdapterBank

    given = filled(base, generators, probes(2), workspace())
    for number, category in enumerate(("cynic", "kural")):
        [own] = [each for each in given if each.answer.question_id == f"q{number}" and each.answer.model == "own + dense"]
        bank = AdapterBank.load(base.model, [adapter.read(paths.adapters() / f"{category}-lora")])
        prompt = Prompter(base.tokenizer, None, 2048).prompt(user_text(own.answer.asked, [TEXTS["p1"], TEXTS["p2"]]), category)
        one = torch.ones(1, 1)
        [alone] = generate(base, [prompt], max_new_tokens=6, batch_size=1, mixing=lambda rows, one=one, bank=bank: bank.mixing(one))
        bank.detach()
        assert own.answer.prediction == alone.text


def test_a_broken_off_grid_goes_on_and_asks_nothing_twice(base, generators, monkeypatch):
    monkeypatch.setattr(ask, "UNIT_BATCHES", 1)
    few = {"batch_size": 10}
    whole = filled(base, generators, probes(10), workspace(), **few)
    broken = workspace()
    asked = []

    def add(kept, key, said):
        asked.append(key)
        if len(asked) == 4:
            raise KeyboardInterrupt
        original(kept, key, said)

    original = Kept.add
    monkeypatch.setattr(Kept, "add", add)
    with pytest.raises(KeyboardInterrupt):
        filled(base, generators, probes(10), broken, **few)
    resumed = filled(base, generators, probes(10), broken, **few)
    assert len(asked) == 4 + 3, "six units: three were kept, and one broke off"
    wanted = [(each.answer.model, each.answer.question_id, each.answer.prediction, each.reference_loss) for each in whole]
    assert [(each.answer.model, each.answer.question_id, each.answer.prediction, each.reference_loss) for each in resumed] == wanted
    again = filled(base, generators, probes(10), broken, **few)
    assert len(asked) == 7
    assert [each.answer.prediction for each in again] == [each.answer.prediction for each in whole]


def test_kept_answers_to_another_prompt_are_not_taken(base, generators):
    place = workspace()
    filled(base, generators, probes(2), place)
    kept = len(list((place.scratch / "answers").iterdir()))
    filled(base, generators, probes(2), place, system_prompt="Be brief.")
    assert len(list((place.scratch / "answers").iterdir())) == 2 * kept


def test_passages_that_do_not_fit_are_left_out_the_last_first(base, generators):
    prompter = Prompter(base.tokenizer, None, 2048)
    [probe] = probes(1)
    one = len(prompter.prompt(user_text(probe.text, [TEXTS["p1"]]), ""))
    given = filled(base, generators, [probe], workspace(), max_seq_length=max(64, one + 6))
    read = {each.answer.pipeline: each.answer.passages for each in given}
    assert read["none"] == "" and read["dense"] == "p1"


def test_a_question_that_does_not_fit_alone_is_named(base, generators):
    long = Probe("q", "", "patience " * 200, "", "cynic")
    with pytest.raises(UserError, match=r"The question 'patience patience.*' has \d+ tokens, and beside the answer there is room for 58"):
        filled(base, generators, [long], workspace(), max_seq_length=64)


def test_a_draw_is_the_same_for_the_same_seed_and_differs_for_others(base, generators):
    drawn = [Probe("q", f"draw {seed}", "What is patience?", "", "cynic", Sampling(2.0, seed=seed)) for seed in (1, 2, 3, 1)]
    given = filled(base, generators, drawn, workspace())
    told = [each.answer.prediction for each in given if each.answer.model == "base + dense"]
    assert told[0] == told[3] and len(set(told)) > 1
    assert all(each.reference_tokens == 0 for each in given)


def test_a_prompt_never_exceeds_what_the_base_model_sees(base, generators):
    seen = base.model.config.max_position_embeddings
    long = Probe("q", "", "patience " * seen, "", "cynic")
    with pytest.raises(UserError, match=f"there is room for {seen - 6}"):
        filled(base, generators, [long], workspace(), max_seq_length=8 * seen)
