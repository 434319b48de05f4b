"""The memory of replies: exact, shared by threads and processes, and whole after a kill."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from core import paths
from core.judge.backend import Reply, Tokens
from core.judge.replies import Asked, Replies, key


def test_a_reply_comes_back_as_it_was_and_the_first_stays(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "replies.sqlite")
    one = Asked(Reply("tie\n\u2028 ünï", "length", 12, None), 0.5, "run-1")
    replies.keep("a", one)
    replies.keep("a", Asked(Reply("A"), 1.0, "run-2"))
    replies.keep("b", Asked(Reply("", "stop", 5, 2), 1.0, "run-1"))
    replies.close()
    again = Replies(tmp_path / "replies.sqlite")
    assert again.get("a") == one and again.get("c") is None
    assert again.spent("run-1") == Tokens(17, 2) and again.spent("run-3") == Tokens(0, 0)


def test_half_a_character_is_kept_as_a_question_mark(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "replies.sqlite")
    replies.keep("a", Asked(Reply("A \ud83d", "\udc00"), 1.0, "run"))
    assert (found := replies.get("a")) and (found.reply.text, found.reply.finish) == ("A ?", "?")


def test_what_was_assumed_is_spent_and_files_of_earlier_versions_open(tmp_path: Path) -> None:
    file = tmp_path / "replies.sqlite"
    with closing(sqlite3.connect(file)) as old:
        old.execute(
            "create table replies (key text primary key, run text not null, text text not null, finish text not null, "
            "prompt_tokens integer, reply_tokens integer, seconds real not null) without rowid"
        )
        old.execute("insert into replies values ('old', 'run', 'B', 'stop', 7, 1, 0.5)")
        old.commit()
    with closing(Replies(file)) as replies:
        assert (found := replies.get("old")) and found.reply == Reply("B", "stop", 7, 1)
        replies.keep("unknown", Asked(Reply("A"), 1.0, "run", Tokens(100, 20)))
        replies.keep("half", Asked(Reply("A", "stop", 90, None), 1.0, "run", Tokens(100, 20)))
    with closing(Replies(file)) as replies:
        assert replies.spent("run") == Tokens(207, 41)


def test_keys_tell_all_apart_that_is_not_the_same() -> None:
    identities = [["u", {"model": "m", "seed": 0}, "x"], ["u", {"model": "m", "seed": 1}, "x"], ["v", {"model": "m", "seed": 0}, "x"]]
    assert len({key(identity, repeat) for identity in identities for repeat in (0, 1)}) == 6
    assert key(["u", {"a": 1, "b": 2}], 0) == key(["u", {"b": 2, "a": 1}], 0)
    assert key(["\ud800"], 0) != key(["?"], 0)


def test_the_last_day_is_counted_for_each_provider(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "replies.sqlite")
    for tokens in (3, 4):
        replies.note("one", tokens)
    replies.note("other", 9)
    replies._execute("insert into requests values ('one', 1.0, 1000)")
    assert replies.last_day("one") == (2, 7) and replies.last_day("nobody") == (0, 0)


def test_threads_and_processes_write_at_once(tmp_path: Path) -> None:
    file = tmp_path / "replies.sqlite"
    code = (
        "import sys; from pathlib import Path; from core.judge.replies import *; from core.judge.backend import Reply\n"
        "replies = Replies(Path(sys.argv[1]))\n"
        "for n in range(100): replies.keep(f'{sys.argv[2]}-{n}', Asked(Reply(str(n)), 0.0, 'r'))\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(file), str(each)], cwd=paths.PROJECT) for each in range(2)]
    replies = Replies(file)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: replies.keep(f"here-{n}", Asked(Reply(str(n)), 0.0, "r")), range(100)))
    assert [other.wait() for other in others] == [0, 0]
    assert all((found := replies.get(f"{who}-{n}")) and found.reply.text == str(n) for who in ("here", "0", "1") for n in range(100))
