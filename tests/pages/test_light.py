"""No page loads torch: each is run in a process of its own, on finished results."""

import subprocess
import sys
from pathlib import Path

from tests.pages import sample
from tests.pages.conftest import APP, PAGES

SCRIPT = """
import sys
from streamlit.testing.v1 import AppTest
at = AppTest.from_file(sys.argv[1], default_timeout=120).run()
for page in sys.argv[2:]:
    at.switch_page(f"pages/{page}.py").run()
    assert not at.exception, at.exception
    heavy = {"torch", "transformers", "peft", "bitsandbytes", "datasets", "llama_index"} & set(sys.modules)
    assert not heavy, f"{page} loads {heavy}"
"""


def test_no_page_loads_torch(home: Path) -> None:
    sample.everything()
    ended = subprocess.run([sys.executable, "-c", SCRIPT, str(APP), *PAGES], cwd=APP.parent, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
