"""What the Merge page shows of a merged adapter."""

from core import paths, runs
from core.results import Cosine, Fidelity, write
from tests.pages import sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words


def test_a_merged_adapter_is_written_into_the_base_from_the_page(open_page: Open) -> None:
    sample.everything()
    at = open_page("merge", merged=sample.MERGED[1])
    at.selectbox(key="export.dtype").set_value("fp32").run()
    at.button(key="export.submit").click().run()
    config = runs.listing("export")[0].config
    assert (config["model"], config["dtype"]) == (sample.MERGED[1], "fp32")


def test_fidelity_tables_of_any_merge_are_pictures(open_page: Open) -> None:
    sample.everything()
    folder = paths.merged_adapters() / sample.MERGED[0]
    layers = ["(all)", *(f"model.layers.{depth}.self_attn.{kind}" for depth in range(12) for kind in ("q_proj", "v_proj"))]
    measures = ("relative_error", "norm_ratio", "energy_kept", "sign_conflict", "cancelled")
    write(
        folder / "fidelity.csv",
        [Fidelity(layer, measure, 0.1 + 0.01 * n) for n, layer in enumerate(layers) for measure in measures],
        Fidelity,
    )
    write(folder / "cosines.csv", [Cosine("cynic-lora", "kural-lora", 0.25), Cosine("cynic-lora", "wisdom-lora", -0.1)], Cosine)
    at = open_page("merge", merged=sample.MERGED[0])
    assert not at.exception
    assert "Adapters conflict most in: 11.self_attn.v_proj (34 %)" in words(at)
    measured = {metric.label: metric.value for metric in at.metric}
    assert measured["Energy kept"] == "10 %" and measured["Strength"] == "0.100"
