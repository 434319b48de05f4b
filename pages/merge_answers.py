"""The pinned questions, answered side by side: reference, base, own adapter, pooled adapter, the mix put aside, and the mix."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from core import charts, console, merge_charts
from core.config import MergeConfig
from core.console import Play, Question, Shelf
from core.serve import client
from core.serve.resident import Engine
from core.wording import three
from pages import answer_cards, playback
from pages.answer_cards import Card

FIXED, HELD, MIX = SLOTS = ("answers.fixed", "answers.held", "answers.mix")
"""What a slider can't change, the mix put aside, and the mix: a request each, so that a move breaks off no more than it must."""
ENDED = ("stop", "length", "error")
Asked = tuple[str, Question, MergeConfig | None]
"""Key, question and mix of a row; no mix is the base."""


@dataclass(frozen=True)
class Row:
    """One answer as far as it has come."""

    parts: tuple[str, ...] = ()
    """What each mix wrote, one after the other: a seam stands between two."""
    state: str = "waits"
    """waits, making (a temporary adapter), writes, stop, length, superseded or error."""
    said: str = ""
    old: str = ""
    """What stood there before a move; shown pale until the first new words."""


def ask(engine: Engine, play: Play, held: MergeConfig | None, shelf: Shelf, going_on: bool) -> None:
    """Ask for what isn't there yet. `going_on`: the mix takes up answers that are under way where they are."""
    asked = list(enumerate(play.questions))
    fixed: list[Asked] = [(f"{place}.base", question, None) for place, question in asked]
    fixed += [(f"{place}.own", each, console.alone(shelf.own[each.category])) for place, each in asked if each.category in shelf.own]
    fixed += [(f"{place}.pooled", question, console.alone(shelf.pooled)) for place, question in asked if shelf.pooled]
    stream(engine, play, MIX, [(f"{place}.mix", question, play.mix) for place, question in asked], going_on)
    if held:
        stream(engine, play, HELD, [(f"{place}.held", question, held) for place, question in asked])
    else:
        playback.clear(HELD)
    stream(engine, play, FIXED, fixed)


def stream(engine: Engine, play: Play, slot: str, rows: Sequence[Asked], going_on: bool = False) -> None:
    """Play rows in a slot, unless they play there already. `going_on`: from the text that stands there."""
    start = _standing(slot, rows, going_on)
    session = f"{playback.session()}.{slot}"
    request = [
        {
            **{"key": key, "question": question.question, "category": question.category},
            **{"mix": console.request(mix), "so_far": "".join(start[key].parts)},
        }
        for key, question, mix in rows
    ]

    def read() -> Iterator[playback.Event]:
        return client.answers(engine, session, request, system_prompt=play.system_prompt, max_new_tokens=play.max_new_tokens)

    playback.play(slot, (engine.pid, play.system_prompt, play.max_new_tokens, tuple(rows)), read, start)


def _standing(slot: str, rows: Sequence[Asked], going_on: bool) -> dict[str, Row]:
    """What each row begins with: where it goes on, the unfinished answer to the same question; else that answer, pale."""
    found, before = playback.playing(slot), fold(slot)
    same = {(key, question) for key, question, _ in found.asked[-1]} if found else set()
    standing = {}
    for key, question, _ in rows:
        row = before[key] if (key, question) in same else Row()
        goes_on = going_on and any(row.parts) and row.state not in ENDED
        standing[key] = Row(row.parts) if goes_on else Row(old="".join(row.parts) or row.old)
    return standing


def fold(slot: str) -> dict[str, Row]:
    """The answers in a slot, by key."""
    found = playback.playing(slot)
    if not found:
        return {}
    rows = dict(found.start)
    for event in found.look():
        key = event["key"]
        rows[key] = _after(rows[key], event, len(found.start[key].parts))
    if found.error:
        rows = {key: row if row.state in ENDED else replace(row, state="superseded") for key, row in rows.items()}
    return rows


def _after(row: Row, event: playback.Event, seams: int) -> Row:
    if "text" in event:
        return Row((*row.parts[:seams], "".join(row.parts[seams:]) + event["text"]), "writes")
    if "merging" in event:
        return replace(row, state="making", said=f"preview: its adapter is made, {event['merging']:.0%}")
    if "error" in event:
        return replace(row, state="error", said=event["error"])
    return replace(row, state=event["done"], said="")


def first_words() -> str:
    """How long the mix's first words took, where it began anew."""
    found = playback.playing(MIX)
    if not found or found.first is None or any(row.parts for row in found.start.values()):
        return ""
    return f"First words after {three(found.first)} s."


def show(play: Play, shelf: Shelf, references: Mapping[tuple[str, str], str], categories: Sequence[str]) -> None:
    """A block per question: its text, then the cards in the order that all pages keep."""
    rows = {key: row for slot in SLOTS for key, row in fold(slot).items()}
    two = playback.playing(HELD) is not None
    for place, question in enumerate(play.questions):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(question.question)
            if question.category:
                st.badge(question.category, color="gray")
        reference = references.get((question.category, question.question))
        cards = [Card("Reference", "reference", charts.OUTLINE, (reference,))] if reference else []
        hue = charts.hues(list(categories)).get(question.category, charts.ACCENT)
        for role, (title, colour) in _roles(shelf, question.category, hue, two).items():
            if row := rows.get(f"{place}.{role}"):
                cards.append(card(title, role, colour, row))
        answer_cards.show(cards, key=f"answers-{place}")


def _roles(shelf: Shelf, category: str, hue: str, two: bool) -> dict[str, tuple[str, str]]:
    """Title and colour by role."""
    return {
        "base": ("Base", charts.ROLE["base"]),
        "own": (shelf.own.get(category, ""), hue),
        "pooled": (shelf.pooled or "", charts.ROLE["pooled"]),
        "held": ("Mix A", merge_charts.HELD),
        "mix": ("Mix B" if two else "Mix", charts.ROLE["merged"]),
    }


def card(title: str, role: str, colour: str, row: Row) -> Card:
    """An answer as a card."""
    words = row.said or {"waits": "waits", "length": "cut: the longest answer", "superseded": "broken off"}.get(row.state, "")
    pale = not any(row.parts) and bool(row.old)
    return Card(title, role, colour, (row.old,) if pale else row.parts, f"{row.state} pale" if pale else row.state, words)
