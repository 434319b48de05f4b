"""Reads a small file that a test writes, as the verb audit does."""

import json

import pandas as pd

from core.judge.formats import FORMATS
from core.judge.formats.content import format_of, read
from core.results import Verdict


def verdicts(path, content, lines=False):
    path.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content), encoding="utf-8")
    held = read(path)
    name = format_of(held, path)
    return name, pd.DataFrame(FORMATS[name].load()(held), columns=Verdict.columns())
