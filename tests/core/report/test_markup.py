import json
import re

from core.report.markup import Markup, data, element, escaped, facts, listing, paragraph, table
from core.report.page import plotly_text
from tests.core.report.material import HOSTILE


def test_text_is_escaped_wherever_it_is_put() -> None:
    for text in HOSTILE[:5]:
        made = (
            element("p", text, title=text) + table([(text, text)], (text,), text) + facts({text: text}) + listing([text]) + paragraph(text)
        )
        assert set(re.findall(r"<(/?\w+)", made)) <= {
            *("p", "/p", "div", "/div", "table", "/table", "thead", "/thead", "tbody", "/tbody", "tr", "/tr", "th", "/th", "td", "/td"),
            *("dl", "/dl", "dt", "/dt", "dd", "/dd", "ul", "/ul", "li", "/li"),
        }
        assert "\0" not in made


def test_markup_is_not_escaped_twice() -> None:
    assert element("p", element("b", "<"), "&") == "<p><b>&lt;</b>&amp;</p>"
    assert escaped(Markup("<b>")) == "<b>"


def test_attributes() -> None:
    made = element("input", class_="a", data_key='"<', disabled=True, hidden=False, title=None)
    assert made == '<input class="a" data-key="&quot;&lt;" disabled>'


def test_empty_parts_leave_nothing() -> None:
    assert paragraph("") == listing([]) == facts({"a": ""}) == ""


def test_json_neither_ends_its_script_nor_changes() -> None:
    made = data(list(HOSTILE), "x")
    inner = made.removeprefix('<script type="application/json" id="x">').removesuffix("</script>")
    assert not re.search("[<>&\u2028\u2029]", inner)
    assert json.loads(inner) == list(HOSTILE)


def test_plotly_reads_no_tag_but_the_charts_own() -> None:
    assert plotly_text("<a href='x'>&lt;<br>%{x}<extra></extra><img>") == "&lt;a href='x'&gt;&amp;lt;<br>%{x}<extra></extra>&lt;img&gt;"
