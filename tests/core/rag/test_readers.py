"""Each reader on files that its format's own libraries wrote, and on broken ones."""

import io
import zipfile

import docx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter

from core.rag.readers import READERS, Refused, read_text


def text_of(suffix: str, data: bytes) -> str:
    return read_text(READERS[suffix], data)[0]


def refusal(suffix: str, data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        read_text(READERS[suffix], data)
    return str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_unicode(encoding: str) -> None:
    assert read_text(READERS[".txt"], "Käse, 漢字, 🎉".encode(encoding)) == ("Käse, 漢字, 🎉", "")


def test_latin_1_is_read_and_said() -> None:
    text, note = read_text(READERS[".md"], "Café „gut“".encode("cp1252"))
    assert text == "Café „gut“" and note == "read as Latin-1 (Windows-1252), because it isn't UTF-8."


def test_binary_under_a_text_suffix() -> None:
    assert refusal(".txt", b"\x7fELF\x02\x01\x01" + bytes(200)) == "It is binary, not text."
    assert refusal(".md", bytes(range(1, 256)) * 20) == "It is binary, not text."
    assert refusal(".md", b"text\0more text") == "It is binary, not text."
    assert refusal(".txt", b"\xff\xfe\x00\xd8\x00") == "It begins as UTF-16 and isn't."
    assert refusal(".txt", b"The price is \x81 9, and this sentence is long.").startswith("Its encoding isn't known")
    assert text_of(".txt", b"\x1b[31mred\x1b[0m " + b"a log with colours " * 30).startswith("\x1b[31mred")


def test_html_is_what_is_seen() -> None:
    page = b"""<html><head><title>T</title><style>p {}</style><script>var a = "secret"</script></head><body>
      <h2>Head</h2><p>Some <b>bo</b>ld
      words.<!-- comment --></p><div hidden>hidden</div><template>later</template>
      <table><tr><td>a</td><td>b</td></tr><tr><td>c &amp; d</td></tr></table><pre>x\n  y</pre><br>end &lt;b&gt;</body></html>"""
    assert text_of(".html", page) == "T\n\n## Head\n\nSome bold words.\n\na | b\n\nc & d\n\nx\n y\n\nend <b>".replace("\n y", "\ny")


def test_html_says_its_encoding() -> None:
    page = '<html><head><meta charset="shift_jis"></head><p>日本語</p></html>'
    assert text_of(".htm", page.encode("shift_jis")) == "日本語"
    assert text_of(".htm", page.replace("shift_jis", "nonsense").encode()) == "日本語"
    assert text_of(".htm", "<p>ünï".encode("utf-16")) == "ünï"


def test_html_nested_as_deep_as_the_file_is_long() -> None:
    assert text_of(".html", b"<div><b>" * 20_000 + b"deep") == "deep"
    assert refusal(".html", b"<script>only()</script>") == "It holds no text."


def pdf(text: bytes) -> bytes:
    """The smallest PDF with a line of text."""
    stream = b"BT /F1 12 Tf 20 200 Td (" + text + b") Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 3 0 R] /Count 2 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return made + b"xref\n0 6\n0000000000 65535 f \n%strailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (table, len(made))


def test_pdf_by_page() -> None:
    assert text_of(".pdf", pdf(b"A page about adapters.")) == "A page about adapters.\n\nA page about adapters."


def test_pdf_that_is_broken_locked_or_scanned() -> None:
    for broken in (b"%PDF-1.4\n1 0 obj << /Type /Catalog >>", b"hello", pdf(b"text")[:200], b"%PDF-1.7\n" + bytes(range(256)) * 9):
        assert refusal(".pdf", broken).startswith("It is broken: ")
    writer, made = PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    writer.write(made)
    assert refusal(".pdf", made.getvalue()) == "Its 1 pages hold no text; scanned pages need text recognition first."
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(locked := io.BytesIO())
    assert refusal(".pdf", locked.getvalue()) == "It is protected by a password. Save it without one."


def saved(document: "docx.document.Document") -> bytes:
    document.save(file := io.BytesIO())
    return file.getvalue()


def test_docx_paragraphs_and_tables_in_order() -> None:
    document = docx.Document()
    document.add_heading("Head", 2)
    document.add_paragraph("Before.")
    table = document.add_table(2, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    table.cell(1, 0).merge(table.cell(1, 1)).text = "both"
    document.add_paragraph("After.")
    assert text_of(".docx", saved(document)) == "## Head\n\nBefore.\n\na | b\nboth\n\nAfter."


def test_docx_that_is_broken_old_empty_or_a_bomb() -> None:
    assert refusal(".docx", saved(docx.Document())) == "It holds no text."
    assert refusal(".docx", b"PK\x03\x04 broken").startswith("It is broken: BadZipFile")
    assert refusal(".docx", b"\xd0\xcf\x11\xe0 old").startswith("It is protected by a password, or a .doc")
    with zipfile.ZipFile(bomb := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(200_000_001))
    assert refusal(".docx", bomb.getvalue()) == "It unpacks to 200,000,001 bytes, more than the 200,000,000 that are read."


@pytest.mark.parametrize("suffix", sorted(READERS))
@given(data=st.binary(max_size=300))
def test_any_bytes_give_text_or_a_reason(suffix: str, data: bytes) -> None:
    try:
        text, _ = read_text(READERS[suffix], data)
    except Refused as refused:
        text = str(refused)
        assert text.endswith(".")
    assert text.strip() and "\0" not in text and "\r" not in text
    text.encode("utf-8")
