"""axe-core on a page of the app: serious and critical findings, but for those that lie within Streamlit itself.

https://github.com/dequelabs/axe-core/blob/develop/doc/API.md; the package axe-playwright-python carries its axe.min.js.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

UPSTREAM = {
    "[data-testid=stSidebarNavItems]": (
        {"list", "listitem"},
        "the navigation's sections are div elements between ul and li: https://github.com/streamlit/streamlit/issues/8399",
    ),
}
"""Parts of Streamlit's own page, the rules that they break, and what is known of it."""
GRAVE = ("serious", "critical")
_RUN = """async ([upstream, grave, only]) => {
    const wanted = only.length ? { runOnly: only } : {};
    const off = names => ({ rules: Object.fromEntries(names.map(name => [name, { enabled: false }])) });
    const look = async (within, more) => (await axe.run(within, { resultTypes: ["violations"], ...wanted, ...more })).violations;
    const found = await look({ exclude: Object.keys(upstream) }, {});
    for (const [part, rules] of Object.entries(upstream)) found.push(...await look({ include: [part] }, off(rules)));
    const said = each => each.nodes.map(node => [each.id, node.html, node.failureSummary]);
    return found.filter(each => grave.includes(each.impact)).flatMap(said);
}"""
COLOURS = ("color-contrast",)
"""Rules whose outcome depends on the colours."""


def grave_findings(page: Any, only: Sequence[str] = ()) -> list[str]:
    """A line for each: the rule, the element and why. `page`: playwright's; `only`: rules; empty: all."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    upstream = {part: sorted(rules) for part, (rules, _) in UPSTREAM.items()}
    return [f"{rule}: {html[:160]} ({why[:200]})" for rule, html, why in page.evaluate(_RUN, [upstream, GRAVE, only])]
