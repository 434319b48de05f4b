"""MT-bench's pair judgments, FastChat's <judge>_pair.jsonl and people's. Zheng et al. 2023, arXiv:2306.05685

Game 1 shows model 1 first, game 2 shows model 2 first; `error` is a reply without a verdict. Question and answers are read from game 1's
prompt; of a talk with two turns, both answers together. People's files (winner, conversation_a, conversation_b) don't say who stood first.
"""

import re
from collections.abc import Iterable
from typing import Any

from core.judge.answers import Pair
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
    return numbered(_row(record) if "g1_winner" in record else _final(record) for record in content)


def _row(record: dict[str, Any]) -> Verdict:
    question, reference, candidate, base = _shown(record.get("g1_user_prompt", ""))
    pair = _pair(record, record["model_2"], record["model_1"], question, reference, (base, candidate))
    judge, *prompt = record["judge"] if isinstance(record["judge"], (list, tuple)) else [record["judge"]]
    game_1, game_2 = (_WORDS.get(record[game], "unparsed") for game in ("g1_winner", "g2_winner"))
    replies = {"first_reply": record.get("g2_judgment") or "", "second_reply": record.get("g1_judgment") or ""}
    words = {"word": game_1} if "m1_score" in record else {"first": game_2, "second": game_1}  # scores were given one by one
    rationale = "\n".join(text for text in replies.values() if text)
    reason = "the judge's reply had no verdict" if "unparsed" in words.values() else ""
    return row(str(judge), str(prompt[0]) if prompt else "", pair, **words, **replies, rationale=rationale, reason=reason)


def _final(record: dict[str, Any]) -> Verdict:
    """A judgment without its games: people's, or only what came of both."""
    talks = [_turns(record.get(f"conversation_{side}")) for side in "ab"]
    answers = tuple(_joined(text for role, text in talk if role == "assistant") for talk in talks)
    question = _joined(text for role, text in talks[0] if role == "user")
    pair = _pair(record, record["model_b"], record["model_a"], question, "", (answers[1], answers[0]))
    judge = record.get("judge", "people")
    name = judge if isinstance(judge, str) else str(next(iter(judge)))
    split = "inconsistent" in record["winner"]
    reason = "both orders disagreed" if split else ""
    return row(name, "", pair, word="tie" if split else _WORDS.get(record["winner"], "unparsed"), reason=reason)


def _pair(record: dict[str, Any], base: str, candidate: str, question: str, reference: str, answers: tuple[str, str]) -> Pair:
    number, turn = int(record["question_id"]) - 81, record.get("turn", 1)
    category = CATEGORIES[number // 10] if 0 <= number < 80 else "mt_bench"
    shown = question or f"question {record['question_id']}, turn {turn}"
    return Pair(base, candidate, category, shown, reference, *answers)


def _shown(prompt: str) -> tuple[str, str, str, str]:
    """Question, reference, answer A and answer B of a judge's prompt; empty where the prompt has another shape."""
    question = _found(_QUESTION, prompt)
    if question:
        a, b = (_found(re.compile(_ANSWER.format(side), re.DOTALL), prompt) for side in "AB")
        return question, _found(_REFERENCE, prompt), a, b
    names = ("Assistant A's Conversation with User", "Assistant B's Conversation with User", "Reference Answer")
    talk_a, talk_b, talk = (_talk(_found(re.compile(_TALK.format(name), re.DOTALL), prompt)) for name in names)
    return _joined(talk_a[::2]), _joined(talk[1::2]), _joined(talk_a[1::2]), _joined(talk_b[1::2])


def _talk(text: str) -> list[str]:
    """What was said in turn: user, assistant, user, ..."""
    return _TURN.split(text)[2::2] if text else []


def _turns(conversation: Any) -> list[tuple[str, str]]:
    return [] if conversation is None else [(turn["role"], turn["content"]) for turn in conversation]


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(texts)


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
