"""Write report.html and report.zip."""

from typing import Any

from core import paths
from core.config import ReportConfig
from core.report import archive, page, sources
from core.wording import count
from core.workspace import Workspace

HTML, ZIP = "report.html", "report.zip"


def run(config: ReportConfig, workspace: Workspace) -> dict[str, Any]:
    """Write the bundle; returns the places of its files. Raises UserError where there is nothing to tell of."""
    found = sources.gather(config)
    title = page.title_of(found, config.title)
    judged = count(sum(len(each.rows) for each in found.judged), "verdict")
    workspace.say(f"{title}: evaluation {found.evaluation.run.run_id}, {judged} of {count(len(found.judged), 'judge run')}.")
    workspace.progress(1, 3, "steps", "drawing")
    made = workspace.scratch / HTML
    made.write_bytes(page.page(found, title).encode("utf-8", "replace"))
    workspace.progress(2, 3, "steps", "packing")
    packed = archive.write(found, made, workspace.scratch / ZIP)
    sizes = {"html_bytes": made.stat().st_size, "zip_bytes": packed.stat().st_size}
    html, zipped = (workspace.publish(file, workspace.path / file.name) for file in (made, packed))
    workspace.say(f"{paths.shown(html)}: {sizes['html_bytes'] / 1e6:.1f} MB. {paths.shown(zipped)}: {sizes['zip_bytes'] / 1e6:.1f} MB.")
    return {
        "html": paths.shown(html),
        "zip": paths.shown(zipped),
        **sizes,
        "title": title,
        "evaluation": found.evaluation.run.run_id,
        "judged": [each.run.run_id for each in found.judged],
    }
