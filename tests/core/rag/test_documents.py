"""A folder full of what goes wrong: every file is there by name, with its text or with a reason."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core.config.rag import IndexConfig
from core.errors import UserError
from core.rag import documents
from core.rag.documents import File, read_folder

Read = Callable[..., dict[str, File]]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "good.md").write_text("A document.")
    return folder


@pytest.fixture
def read(docs: Path) -> Read:
    """`read(known)`: File by name; what was said is in `read.said`."""

    def reading(known: dict[str, File] | None = None, **fields: object) -> dict[str, File]:
        said.clear()
        files = read_folder(IndexConfig(docs_dir=str(docs), **fields), said.append, known)
        assert [file.document for file in files] == sorted(file.document for file in files)
        return {file.document: file for file in files}

    said: list[str] = []
    reading.said = said  # type: ignore[attr-defined]
    return reading


def test_every_file_is_there_with_its_text_or_a_reason(docs: Path, read: Read) -> None:
    (docs / "sub").mkdir()
    (docs / "sub" / "UPPER.TXT").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree")
    (docs / "ünïcödé 漢字 🎉.md").write_text("unicode")
    (docs / "مرحبا.txt").write_text("right to left")
    (docs / "empty.md").touch()
    (docs / "blank.md").write_text(" \n\t")
    (docs / "photo.png").write_bytes(b"\x89PNG")
    (docs / "README").write_text("no suffix")
    (docs / ".hidden.md").write_text("x")
    (docs / "large.txt").write_bytes(b"word " * 30_000)
    (docs / "binary.txt").write_bytes(os.urandom(5000))
    files = read(max_file_mb=0.1)
    assert {name: file.text for name, file in files.items() if not file.reason} == {
        "good.md": "A document.",
        "sub/UPPER.TXT": "one\ntwo\nthree",
        "ünïcödé 漢字 🎉.md": "unicode",
        "مرحبا.txt": "right to left",
    }
    assert {name: file.reason for name, file in files.items() if file.reason} == {
        ".hidden.md": "Its name begins with a dot: hidden.",
        "README": "A file without a suffix isn't read here; md, txt, html, pdf and docx files are.",
        "binary.txt": "It is binary, not text.",
        "blank.md": "It holds no text.",
        "empty.md": "It is empty.",
        "large.txt": "It has 0.150 MB, more than max_file_mb=0.1.",
        "photo.png": ".png files aren't read here; md, txt, html, pdf and docx files are.",
    }
    assert "7 of 11 files refused: .hidden.md (Its name begins with a dot: hidden), README" in read.said[0]  # type: ignore[attr-defined]


def test_links_are_refused_and_never_followed(docs: Path, read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("outside")
    (docs / "sub").mkdir()
    for name, target in {
        "out.md": "../secret.md",
        "etc": "/etc",
        "self": "self",
        "nowhere.md": "gone.md",
        "loop": ".",
        "sub/up": "..",
        "twin.md": "good.md",
    }.items():
        (docs / name).symlink_to(target)
    reasons = {name: file.reason for name, file in read().items() if file.reason}
    assert reasons == {
        "out.md": "It is a link that leaves the folder.",
        "etc": "It is a link that leaves the folder.",
        "self": "It is a link that leads nowhere or to itself.",
        "nowhere.md": "It is a link that leads nowhere or to itself.",
        "loop": "It is a link back to a folder that it lies in: a loop.",
        "sub/up": "It is a link back to a folder that it lies in: a loop.",
        "twin.md": "It is a link to 'good.md', which is read where it stands.",
    }


def test_a_folder_reached_by_a_link_is_read(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(docs)
    assert [file.document for file in read_folder(IndexConfig(docs_dir=str(tmp_path / "way")), print)] == ["good.md"]


def test_pipes_and_sockets_are_not_waited_for(docs: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(docs / "pipe.txt")
    monkeypatch.chdir(docs)
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("socket.txt")
        files = read()
    assert files["pipe.txt"].reason == files["socket.txt"].reason == "It is no file, but a device, a pipe or a socket."


def test_names_that_are_no_utf8_or_hold_control_characters_are_written_out(docs: Path, read: Read) -> None:
    Path(os.fsdecode(os.fsencode(docs) + b"/bad\xff.md")).write_text("no UTF-8")
    (docs / "a\nb.md").write_text("two lines")
    files = read()
    assert (files[r"bad\xff.md"].text, files[r"a\x0ab.md"].text) == ("no UTF-8", "two lines")
    for name in files:
        name.encode("utf-8")


def test_a_folder_without_documents_is_an_error_that_names_what_is_there(tmp_path: Path, docs: Path) -> None:
    with pytest.raises(UserError, match="'.*gone' aren't there. Set docs_dir"):
        read_folder(IndexConfig(docs_dir=str(tmp_path / "gone")), print)
    (docs / "good.md").unlink()
    with pytest.raises(UserError, match="because it is empty. Put documents there"):
        read_folder(IndexConfig(docs_dir=str(docs)), print)
    (docs / "photo.png").touch()
    with pytest.raises(UserError, match=r"every file in it is refused: photo.png \(.png files aren't read here"):
        read_folder(IndexConfig(docs_dir=str(docs)), print)


def test_one_file_can_be_named(docs: Path) -> None:
    (file,) = read_folder(IndexConfig(docs_dir=str(docs / "good.md")), print)
    assert (file.document, file.text) == ("good.md", "A document.")


def test_only_changed_files_are_read_again(docs: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("same", "touched", "changed", "moved"):
        (docs / f"{name}.md").write_text(f"The file {name}.")
        os.utime(docs / f"{name}.md", (1e9, 1e9))
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    os.utime(docs / "broken.pdf", (1e9, 1e9))
    known = read()
    os.utime(docs / "touched.md")
    (docs / "changed.md").write_text("Another one.")
    (docs / "moved.md").rename(docs / "there.md")
    opened, texts = [], []
    data, text = documents._data, documents.read_text
    monkeypatch.setattr(documents, "_data", lambda path: opened.append(path.name) or data(path))
    monkeypatch.setattr(documents, "read_text", lambda reader, read: texts.append(read) or text(reader, read))
    files = read(known)
    assert opened == ["changed.md", "good.md", "there.md", "touched.md"], "good.md is so new that its time proves nothing"
    assert texts == [b"Another one.", b"The file moved."]
    assert files["changed.md"].text == "Another one." and files["same.md"] == known["same.md"]
    assert files["broken.pdf"] == known["broken.pdf"] and files["broken.pdf"].reason


def test_a_change_within_the_clock_s_step_is_seen(docs: Path, read: Read) -> None:
    known = read()
    when = (docs / "good.md").stat().st_mtime_ns
    (docs / "good.md").write_text("B document.")
    os.utime(docs / "good.md", ns=(when, when))
    assert read(known)["good.md"].text == "B document."


def test_thousands_of_small_files(docs: Path, read: Read) -> None:
    for number in range(5000):
        (docs / f"{number:04}.txt").write_text(f"File {number}.")
    files = read()
    assert len(files) == 5001 and files["4999.txt"].text == "File 4999."


def test_a_corpus_has_a_document_a_line(tmp_path: Path) -> None:
    lines = [
        json.dumps({"_id": "MED-1", "title": "Title", "text": "Text of one.", "metadata": {}}),
        json.dumps({"_id": 7, "text": "Half a pair: \ud83d."}),
        "",
        "no JSON",
        json.dumps({"title": "nameless"}),
        json.dumps({"_id": "MED-1", "text": "again"}),
        json.dumps({"_id": "empty", "title": "", "text": " "}),
        json.dumps({"_id": "odd", "text": ["list"]}),
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    files = read_folder(IndexConfig(docs_dir=str(tmp_path / "corpus.jsonl")), print)
    assert [(file.document, file.text) for file in files if not file.reason] == [
        ("MED-1", "Title\n\nText of one."),
        ("7", "Half a pair: \ufffd."),
    ]
    reasons = {file.document: file.reason for file in files if file.reason}
    assert reasons["line 4"].startswith("The line is no JSON: Expecting value")
    assert reasons["line 5"] == "The line has no _id."
    assert reasons["line 6"] == "Its _id 'MED-1' stands on an earlier line."
    assert (reasons["empty"], reasons["odd"]) == ("It is empty.", "Its title or text is no text.")
