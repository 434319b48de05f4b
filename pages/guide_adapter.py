"""The guide's picture of a real adapter: the singular values of B A, layer by layer."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core import guide_charts, guide_findings, paths, singular_values
from core.errors import UserError
from core.peft_config import CONFIG, WEIGHTS
from core.singular_values import Spectrum
from core.wording import plain
from pages import form, parts


def show() -> None:
    """Choose an adapter and a module; the finding, and the picture."""
    names = {name: paths.adapters() / name for name in form.adapters()} | {
        name: paths.merged_adapters() / name for name in form.merged_adapters()
    }
    if not names:
        st.info("There is no adapter yet. Train one, and its singular values are drawn here.")
        st.page_link("pages/train.py", label="Train an adapter", icon=":material/arrow_forward:")
        return
    with st.container(border=True):
        left, right = st.columns(2)
        name = left.selectbox("Adapter", list(names), key="adapter", bind="query-params") or next(iter(names))
        try:
            picture(name, names[name], right)
        except UserError as error:
            st.info(plain(str(error)))


def picture(name: str, folder: Path, place: st.delta_generator.DeltaGenerator) -> None:
    """One module of an adapter. Raises UserError, in a sentence, where there is nothing to draw."""
    state = changed(folder)
    known = _modules(str(folder), state)
    module = place.selectbox("Module", list(known), key="module", bind="query-params") or next(iter(known))
    found = _spectra(str(folder), tuple(known[module]), state)
    said = guide_findings.directions(name, module, found)
    st.markdown(plain(said))
    st.plotly_chart(guide_charts.singular_values(found), alt=said, key="singular-values", config={"displayModeBar": False})
    st.caption("Singular values of (alpha / r) B A. The line: effective rank.")
    parts.download(f"{name}-{module}.csv", table(found), "Singular values (CSV)")


def table(found: list[Spectrum]) -> pd.DataFrame:
    """A row per layer and direction."""
    rows = [(each.layer, place, float(value), each.effective_rank) for each in found for place, value in enumerate(each.values, start=1)]
    return pd.DataFrame(rows, columns=["layer", "direction", "singular_value", "effective_rank"])


def changed(folder: Path) -> tuple[tuple[int, int], ...]:
    """Changes with the adapter's files."""
    stats = [file.stat() for file in (folder / CONFIG, folder / WEIGHTS) if file.exists()]
    return tuple((each.st_mtime_ns, each.st_size) for each in stats)


@st.cache_data(show_spinner=False, max_entries=32)
def _modules(folder: str, state: tuple[tuple[int, int], ...]) -> dict[str, list[str]]:
    return singular_values.modules(Path(folder))


@st.cache_data(show_spinner="Working out the singular values", max_entries=64)
def _spectra(folder: str, layers: tuple[str, ...], state: tuple[tuple[int, int], ...]) -> list[Spectrum]:
    return singular_values.spectra(Path(folder), layers)
