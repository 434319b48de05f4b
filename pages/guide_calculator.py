"""The guide's calculator: what a method, a rank and target modules cost on a base model. Its state stands in the address."""

from dataclasses import replace

import streamlit as st

from core import guide_charts, guide_findings, lora_size
from core.guide_findings import GB
from core.lora_size import Plan
from core.model_shapes import ATTENTION, MLP, SHAPES, Shape
from core.train import METHODS
from core.wording import listed, plain, three

OWN = "another shape"
FIRST = "TinyLlama-1.1B"
LABELS = {
    "hidden": "Hidden size",
    "mlp": "MLP size",
    "layers": "Layers",
    "heads": "Heads",
    "kv_heads": "Key and value heads",
    "head_size": "Head size",
    "vocabulary": "Vocabulary",
}
LARGEST = {
    "hidden": 65_536,
    "mlp": 262_144,
    "layers": 1_000,
    "heads": 1_024,
    "kv_heads": 1_024,
    "head_size": 1_024,
    "vocabulary": 1_000_000,
}
MEMORY = {
    "weights": "base model",
    "adapters": "what trains with its gradients and best copy",
    "optimiser": "optimiser",
    "activations": "activations",
}
ABOUT = (
    "Memory: weights, gradients and optimiser are exact; activations are counted for one pass of so many tokens and leave out temporaries "
    "(the estimate on the page Train traces the real code). GB are 2^30 bytes; files are saved in fp32, bf16 halves them."
)


def show() -> None:
    """Settings, the finding, figures, and both curves over ranks."""
    forget_what_is_no_number()
    with st.container(border=True):
        model, shape = base_model()
        plan = settings(shape)
        if plan is None:
            return
        said = guide_findings.size(plan, model)
        st.markdown(plain(said))
        figures(plan)
        curves(plan, said)
        source = f"Shape: config.json of {shape.source}. " if shape.source else ""
        st.caption(plain(source + ABOUT))


def forget_what_is_no_number() -> None:
    """Drop from the address what no box can hold: Streamlit fails where it makes whole numbers of NaN, Infinity and 1e400."""
    known = [f"size_{each}" for each in (*LARGEST, "r", "tokens")]
    if strange := [name for name in known if not _is_number(st.query_params.get(name, "0"))]:
        for name in strange:
            del st.query_params[name]
        st.rerun()  # boxes read the address as it stood when the run began


def _is_number(said: str) -> bool:
    try:
        return abs(float(said)) < 2**53
    except ValueError:
        return False


def base_model() -> tuple[str, Shape]:
    """A known shape, or one's own."""
    names = [*SHAPES, OWN]
    left, right = st.columns(2)
    model = left.selectbox("Base model", names, names.index(FIRST), key="size_model", bind="query-params") or FIRST
    known = SHAPES.get(model, SHAPES[FIRST])
    right.metric("Weights of the base model", f"{known.parameters:,}") if model != OWN else None
    return (model, known) if model != OWN else ("this shape", own(known))


def own(first: Shape) -> Shape:
    """Figures of a decoder of Llama's layout, beginning with a known one."""
    values: dict[str, int] = {}
    for place, (name, label) in enumerate(LABELS.items()):
        if place % 4 == 0:
            columns = st.columns(4)
        most, known = LARGEST[name], getattr(first, name)
        value = columns[place % 4].number_input(label, 1, most, known, key=f"size_{name}", bind="query-params")
        values[name] = int(value or 1)
    tied = st.toggle("Output layer shared with the embedding", key="size_tied", bind="query-params")
    return Shape(**values, tied=tied)


def settings(shape: Shape) -> Plan | None:
    """Method, rank, target modules, and what decides memory; None after saying what is missing."""
    first, second, third, fourth = st.columns(4, vertical_alignment="bottom")
    method = first.selectbox("Method", list(METHODS), format_func=lambda name: METHODS[name].label, key="size_method", bind="query-params")
    r = second.number_input("Rank r", 1, 1024, 8, key="size_r", bind="query-params")
    base = third.selectbox("Base model held in", ["bf16", "fp32", "nf4"], key="size_base", bind="query-params", help="QLoRA: always nf4.")
    tokens = fourth.number_input(
        "Tokens in a pass", 16, 1_000_000, 1024, 256, key="size_tokens", bind="query-params", help="micro_batch_tokens of a training run."
    )
    targets = st.pills(
        "Target modules", [*ATTENTION, *MLP], selection_mode="multi", default=ATTENTION, key="size_targets", bind="query-params", wrap=True
    )
    recompute = st.toggle("Gradient checkpointing", key="size_recompute", bind="query-params")
    if method not in lora_size.TRAINED:
        st.info(f"For {plain(METHODS[str(method)].label)} no formula is known here. The estimate on the page Train counts it.")
        st.page_link("pages/train.py", label="Estimate", icon=":material/arrow_forward:")
        return None
    if not targets:
        st.info("Choose at least one target module: without one nothing trains.")
        return None
    return Plan(shape, str(method), int(r or 1), tuple(targets), str(base), int(tokens or 16), recompute)


def figures(plan: Plan) -> None:
    """The headline figures, then memory by what it is for."""
    parts = lora_size.memory(plan)
    headline = {
        "Numbers that train": f"{lora_size.trained(plan):,}",
        "Share of the model": f"{100 * lora_size.share(plan):.2f} %",
        "Size on disk": guide_findings.stored(plan),
        "Memory to train": guide_findings.gigabytes(sum(parts.values())),
    }
    row = st.container(horizontal=True)
    for label, value in headline.items():
        row.metric(label, value, border=True, width=225)
    said = listed([f"{label} {guide_findings.gigabytes(parts[name])}" for name, label in MEMORY.items()])
    st.markdown(plain(f"Memory to train: {said}."))


def curves(plan: Plan, said: str) -> None:
    """Numbers that train and memory, over ranks, beside full fine-tuning."""
    whole = replace(plan, method="full")
    over = lora_size.over_ranks(plan)
    left, right = st.columns(2)
    now = (plan.r, float(lora_size.trained(plan)))
    figure = guide_charts.over_ranks([count for _, count, _ in over], now, lora_size.trained(whole), "numbers that train")
    left.plotly_chart(figure, alt=f"Numbers that train by rank. {said}", key="size-trained", config={"displayModeBar": False})
    total, full = (sum(lora_size.memory(each).values()) / GB for each in (plan, whole))
    figure = guide_charts.over_ranks([size / GB for _, _, size in over], (plan.r, total), full, "GB to train")
    alt = f"Memory to train by rank: {three(total)} GB at rank {plan.r}, {three(full)} GB for full fine-tuning."
    right.plotly_chart(figure, alt=alt, key="size-memory", config={"displayModeBar": False})
