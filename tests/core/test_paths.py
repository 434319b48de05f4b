"""The folders, and names that may become folders."""

from pathlib import Path

import pytest

from core import paths
from core.errors import UserError


def test_lyceum_home_moves_adapters_merges_and_results_together(home):
    assert (paths.adapters(), paths.merged_adapters(), paths.results()) == (home / "adapters", home / "merged_adapters", home / "results")


def test_without_lyceum_home_it_is_the_project(monkeypatch):
    monkeypatch.delenv("LYCEUM_HOME")
    assert paths.home() == paths.PROJECT == Path(__file__).resolve().parents[2]


def test_lyceum_cache_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path))
    assert paths.cache() == tmp_path


def test_a_server_of_s3_is_no_part_of_another_store(monkeypatch):
    homes = {}
    for url in ("file:///store", "s3://bucket/store"):
        monkeypatch.setenv("LYCEUM_HOME", url)
        for server in ("http://one.example", "http://other.example"):
            monkeypatch.setenv("AWS_ENDPOINT_URL", server)
            homes[url, server] = paths.home()
    assert len(set(homes.values())) == 3


def test_data_is_looked_for_where_the_person_is_then_in_the_project(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert paths.data_file("data/seven_schools.jsonl") == paths.PROJECT / "data" / "seven_schools.jsonl"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "seven_schools.jsonl").write_text("mine")
    assert paths.data_file("data/seven_schools.jsonl").read_text() == "mine"
    assert paths.data_file("data/none.jsonl") == Path("data/none.jsonl")


@pytest.mark.parametrize("name", ["a", "cynic-lora", "A.b_c-9", "x" * 120])
def test_plain_names_pass(name):
    assert paths.check_name(name, "run") == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-option", "a/b", "a\\b", "a b", "a..b", "ä", "x" * 121, "a\n", "a\0"])
def test_names_that_could_leave_their_folder_are_refused(name):
    with pytest.raises(UserError, match="can't be used, because it becomes a folder name"):
        paths.check_name(name, "adapter")


@pytest.mark.parametrize("text", ["plain", "with blank", "über/unter", "../../etc/passwd", "日本語", "a" * 500, "...", "a..b"])
def test_a_slug_is_always_a_plain_name(text):
    assert paths.check_name(paths.slug(text), "category") == paths.slug(text)


def test_slugs_keep_texts_apart_and_plain_texts_as_they_are():
    assert paths.slug("cynic") == "cynic" and paths.slug("two words") == "two-words"
    assert len({paths.slug(text) for text in ("a/b", "a?b", "ab", "日本", "中国")}) == 5
