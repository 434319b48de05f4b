"""Forms: presets, fields of one method alone, clone, and the command line that does the same."""

from streamlit.testing.v1 import AppTest

from core import paths, runs
from core.config import EvaluateConfig, TrainConfig
from core.presets import PRESETS
from core.train import METHODS
from tests.pages import sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words


def command(at: AppTest, verb: str = "train") -> str:
    """The command line under a form."""
    return next(code.value for code in at.code if f"core {verb}" in code.value)


def shown_fields(at: AppTest, verb: str = "train") -> set[str]:
    """The fields of a form that have a widget."""
    kinds = ("selectbox", "text_input", "number_input", "toggle", "multiselect")
    return {widget.key.partition(".")[2] for kind in kinds for widget in at.get(kind) if widget.key and widget.key.startswith(f"{verb}.")}


def test_every_preset_sets_the_forms_values_and_the_command_names_it(open_page: Open) -> None:
    at = open_page("train")
    for name, preset in PRESETS["train"].items():
        at.selectbox(key="train.preset").set_value(name).run()
        assert not at.exception
        assert command(at) == f"python -m core train --preset {name}"
        at.button(key="train.submit").click().run()
        assert runs.listing("train")[0].config == TrainConfig(**preset).model_dump(mode="json")


def test_what_differs_from_the_preset_stands_beside_it_and_no_preset_means_defaults(open_page: Open) -> None:
    at = open_page("train")
    at.selectbox(key="train.preset").set_value("seven_schools").run()
    at.number_input(key="train.r").set_value(16)
    at.text_input(key="train.system_prompt").set_value("").run()
    assert command(at) == "python -m core train --preset seven_schools --system_prompt none --r 16"
    at.selectbox(key="train.preset").set_value(None).run()
    assert command(at) == "python -m core train" and at.number_input(key="train.r").value == 8


def test_the_evaluate_form_gives_the_shipped_adapters_their_system_prompt(open_page: Open) -> None:
    at = open_page("evaluate")
    at.selectbox(key="evaluate.preset").set_value("seven_schools").run()
    assert at.text_input(key="evaluate.system_prompt").value == "Answer in the voice of this school: {category}."
    assert command(at, "evaluate") == "python -m core evaluate --preset seven_schools"
    at.button(key="evaluate.submit").click().run()
    assert runs.listing("evaluate")[0].config == EvaluateConfig(**PRESETS["evaluate"]["seven_schools"]).model_dump(mode="json")


def test_a_forms_values_outlast_a_change_of_page(open_page: Open) -> None:
    at = open_page("train")
    at.selectbox(key="train.preset").set_value("laptop").run()
    at.number_input(key="train.epochs").set_value(7.0).run()
    at.switch_page("pages/jobs.py").run().switch_page("pages/train.py").run()
    assert command(at) == "python -m core train --preset laptop --epochs 7.0"


def test_a_method_says_what_it_is_and_shows_its_own_fields_alone(open_page: Open) -> None:
    at = open_page("train")
    for method, entry in METHODS.items():
        at.selectbox(key="train.method").set_value(method).run()
        for said in (entry.summary, entry.use_when, entry.reference):
            assert said in words(at)
        others = {name for row in METHODS.values() for name in row.fields} - set(entry.fields)
        assert set(entry.fields) <= shown_fields(at) and not others & shown_fields(at)


def test_a_hidden_field_goes_back_to_its_default(open_page: Open) -> None:
    at = open_page("train")
    at.selectbox(key="train.method").set_value("lora_plus").run()
    at.number_input(key="train.loraplus_lr_ratio").set_value(4.0).run()
    assert command(at) == "python -m core train --method lora_plus --loraplus_lr_ratio 4.0"
    at.selectbox(key="train.method").set_value("lora").run()
    assert command(at) == "python -m core train"


def test_lora_fa_says_that_it_is_for_merging(open_page: Open) -> None:
    at = open_page("train")
    at.selectbox(key="train.method").set_value("lora_fa").run()
    assert "You plan to merge" in words(at) and "exact at the same rank" in words(at)


def test_a_field_that_may_be_empty_can_be_on_off_or_empty(open_page: Open) -> None:
    at = open_page("train")
    at.selectbox(key="train.gradient_checkpointing").set_value(False).run()
    assert command(at) == "python -m core train --gradient_checkpointing false"
    at.selectbox(key="train.gradient_checkpointing").set_value(None).run()
    assert command(at) == "python -m core train"


def test_clone_puts_a_runs_settings_into_the_form(open_page: Open) -> None:
    settings = TrainConfig(r=32, method="delta_lora", delta_lambda=0.5, categories=("cynic", "kural"), name="mine", learning_rate=2.5e-4)
    run = sample.train()
    runs.update(run.run_id, config=settings.model_dump(mode="json"))
    at = open_page("train")
    at.selectbox(key="train.preset").set_value("laptop").run()
    at.button(key="train_clone").click().run()
    assert not at.exception
    at.button(key="train.submit").click().run()
    assert runs.listing("train")[0].config == settings.model_dump(mode="json")
    assert "--preset" not in command(at)


def test_models_made_here_can_be_chosen_as_base_model(open_page: Open) -> None:
    folder = paths.models() / "mine"
    folder.mkdir(parents=True)
    (paths.models() / "half-made").mkdir()
    (folder / "config.json").write_text("{}")
    assert open_page("train").selectbox(key="train.base_model").options == ["bundled", str(folder)]
