"""MT-bench's pair judgments, FastChat's <judge>_pair.jsonl and people's. Zheng et al. 2023, arXiv:2306.05685

Game 1 shows model 1 first, game 2 shows model 2 first; `error` is a reply without a verdict. Question and answers are read from game 1's
prompt; of a talk with two turns, both answers together. People's files (winner, conversation_a, conversation_b) don't say who stood first.
"""

import re
from collections.abc import Iterable
from typing import Any

from core.errors import shown
from core.judge.answers import Pair
from core.judge.formats.record import BadRecord, each, objects, text
from core.judge.formats.row import numbered, row
from core.results import Verdict

CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
"""Of MT-bench's questions 81 to 160, ten each."""
_WORDS = {"model_1": "fine-tuned", "model_a": "fine-tuned", "model_2": "base", "model_b": "base", "tie": "tie", "error": "unparsed"}
_REFERENCE = re.compile(r"\[The Start of Reference Answer\]\n(.*?)\n\[The End of Reference Answer\]", re.DOTALL)
_QUESTION = re.compile(r"\[User Question\]\n(.*?)\n\n\[The Start of (?:Reference|Assistant A's) Answer\]", re.DOTALL)
_ANSWER = r"\[The Start of Assistant {0}'s Answer\]\n(.*?)\n\[The End of Assistant {0}'s Answer\]"
_TALK = r"<\|The Start of {0}\|>\n\n(.*?)\n\n<\|The End of {0}\|>"
_TURN = re.compile(r"(?:^|\n\n)### (User|Reference answer|Assistant [AB]):\n")


def verdicts(content: list[dict[str, Any]]) -> list[Verdict]:
    """Rows of verdicts.csv: model 1 (or a) is the candidate, model 2 (or b) the base."""
    return numbered(each(content, lambda record: [_row(record) if "g1_winner" in record else _final(record)]))


def _row(record: dict[str, Any]) -> Verdict:
    question, reference, candidate, base = _shown(text(record, "g1_user_prompt", ""))
    pair = _pair(record, text(record, "model_2"), text(record, "model_1"), question, reference, (base, candidate))
    judge, *prompt = _judge(record)
    game_1, game_2 = (_WORDS.get(text(record, game), "unparsed") for game in ("g1_winner", "g2_winner"))
    replies = {"first_reply": text(record, "g2_judgment", ""), "second_reply": text(record, "g1_judgment", "")}
    words = {"word": game_1} if "m1_score" in record else {"first": game_2, "second": game_1}  # scores were given one by one
    rationale = "\n".join(reply for reply in replies.values() if reply)
    reason = "the judge's reply had no verdict" if "unparsed" in words.values() else ""
    return row(judge, prompt[0] if prompt else "", pair, **words, **replies, rationale=rationale, reason=reason)


def _final(record: dict[str, Any]) -> Verdict:
    """A judgment without its games: people's, or only what came of both."""
    talks = [_turns(record, f"conversation_{side}") for side in "ab"]
    answers = tuple(_joined(said for role, said in talk if role == "assistant") for talk in talks)
    question = _joined(said for role, said in talks[0] if role == "user")
    pair = _pair(record, text(record, "model_b"), text(record, "model_a"), question, "", (answers[1], answers[0]))
    judge = _judge(record)[0] if "judge" in record else "people"
    winner = text(record, "winner")
    if "inconsistent" in winner:
        return row(judge, "", pair, word="tie", reason="both orders disagreed")
    word = _WORDS.get(winner, "unparsed")
    return row(judge, "", pair, word=word, reason=f"winner is {shown(winner)!r}" if word == "unparsed" else "")


def _judge(record: dict[str, Any]) -> list[str]:
    """Who judged, and of FastChat's files the prompt."""
    named = record.get("judge")
    names = [str(name) for name in (named if isinstance(named, list | tuple) else [named]) if name]
    if not names:
        raise BadRecord("names no judge")
    return names


def _pair(record: dict[str, Any], base: str, candidate: str, question: str, reference: str, answers: tuple[str, str]) -> Pair:
    name = text(record, "question_id")
    number, turn = int(name) - 81 if name.isdecimal() and len(name) < 9 else -1, record.get("turn", 1)
    category = CATEGORIES[number // 10] if 0 <= number < 80 else "mt_bench"
    return Pair(base, candidate, category, question or f"question {name}, turn {turn}", reference, *answers)


def _shown(prompt: str) -> tuple[str, str, str, str]:
    """Question, reference, answer A and answer B of a judge's prompt; empty where the prompt has another shape."""
    question = _found(_QUESTION, prompt)
    if question:
        a, b = (_found(re.compile(_ANSWER.format(side), re.DOTALL), prompt) for side in "AB")
        return question, _found(_REFERENCE, prompt), a, b
    names = ("Assistant A's Conversation with User", "Assistant B's Conversation with User", "Reference Answer")
    talk_a, talk_b, talk = (_talk(_found(re.compile(_TALK.format(name), re.DOTALL), prompt)) for name in names)
    return _joined(talk_a[::2]), _joined(talk[1::2]), _joined(talk_a[1::2]), _joined(talk_b[1::2])


def _talk(found: str) -> list[str]:
    """What was said in turn: user, assistant, user, ..."""
    return _TURN.split(found)[2::2] if found else []


def _turns(record: dict[str, Any], key: str) -> list[tuple[str, str]]:
    return [(text(turn, "role"), text(turn, "content")) for turn in objects(record, key)]


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(texts)


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
