"""Guide: why, what, how, which when, what goes wrong, and the words; a section at a time, with a button to each page that does it."""

import streamlit as st

from core import guide
from core.guide import Block, Link
from core.registry import Entry
from core.wording import plain
from pages import frame, guide_adapter, guide_calculator, parts

LANGUAGES = {"en": "English", "ja": "日本語"}
FINDING = "What tuning, merging and judging are for, how to do them, and what to do when something goes wrong. Each step opens its page."
DONE = {
    "methods": ("train", "train.method", "Train with it"),
    "routers": ("evaluate", "route.router", "Make this route"),
}
"""Tables whose rows a form takes from a link: its page, the field, and what the button says."""
PARTS = {"calculator": guide_calculator.show, "singular-values": guide_adapter.show}


def choose(label: str, names: dict[str, str], parameter: str) -> str:
    """One of several by its key, which stands in the address."""
    now = st.query_params.get(parameter)
    now = now if now in names else next(iter(names))
    chosen = st.segmented_control(
        label, list(names), format_func=names.__getitem__, default=now, key=f"guide.{parameter}.{now}", required=True, wrap=True
    )
    st.query_params[parameter] = chosen or now  # said again: a button to this page itself leaves the browser's address as it was
    if chosen and chosen != now:
        st.rerun()
    return now


def draw(block: Block) -> None:
    """A piece of a section."""
    if block.kind == "text":
        st.markdown(block.text)
    elif block.kind == "links":
        links(block.links)
    elif block.kind == "table":
        rows(block.text)
    else:
        PARTS[block.text]()


def links(found: tuple[Link, ...]) -> None:
    """Buttons that open pages."""
    with st.container(horizontal=True):
        for link in found:
            st.page_link(f"pages/{link.page}.py", label=link.label, icon=":material/arrow_forward:", query_params=link.query)


def rows(name: str) -> None:
    """What can be chosen by a word: what it is, when to choose it, its paper; two beside each other where there is room."""
    table = guide.TABLES[name]
    words = list(table)
    for begin in range(0, len(words), 2):
        for column, word in zip(st.columns(2), words[begin : begin + 2], strict=False):
            with column.container(border=True, height="stretch", gap="xsmall"):
                row(word, table[word])
                if name in DONE:
                    page, field, label = DONE[name]
                    st.page_link(f"pages/{page}.py", label=label, icon=":material/arrow_forward:", query_params={field: word})


def row(word: str, entry: Entry) -> None:
    """One of them."""
    st.markdown(f"**{plain(entry.label)}** · `{word}`")
    st.markdown(plain(entry.summary))
    if entry.use_when:
        st.markdown(f"*When:* {plain(entry.use_when)}")
    st.markdown(f":small[{guide.cited(entry.reference)}]")


frame.enter()
sections = guide.sections()
parts.head("Guide", FINDING)
key = choose("Section", {name: section.title() for name, section in sections.items()}, "section")
section = sections[key]
language = choose("Language", {name: LANGUAGES[name] for name in section.files}, "lang") if len(section.files) > 1 else "en"
st.header(section.title(language), anchor=False)
for block in section.blocks(language):
    draw(block)
following = list(sections)[list(sections).index(key) + 1 :]
if following:
    following_title = f"Next: {sections[following[0]].title()}"
    st.page_link("pages/guide.py", label=following_title, icon=":material/arrow_forward:", query_params={"section": following[0]})
