"""Adapters and merges in vLLM: each is loaded on first use, under its name and the hash of its content.

vLLM keeps prefixes of what it has read by an adapter's name, and would go on using those of older weights (vllm-project/vllm #42125);
under another hash it is another adapter. What vLLM reads is a folder written for it, a plain LoRA of one rank whose scales are in B:
VeRA, rsLoRA, patterns of ranks and alphas and merges without weights of their own come out as what they are.
"""

import shutil
import threading
import time
from pathlib import Path

import httpx
from torch.nn import functional as F

from core import adapter
from core.adapter import Adapter, Factor
from core.errors import UserError
from core.serve.mixes import Plan
from core.serve.names import BASE
from core.serve.offered import adapter_names
from core.serve.vllm import shelf
from core.serve.vllm.command import Command
from core.serve.vllm.shelf import Shelf

LOAD_SECONDS = 300.0
KEPT_SECONDS = 600.0
"""How long the folder of an adapter that was dropped stays: requests under way may still need it."""


class Loras:
    """What one vLLM process has loaded. Safe to use from several threads."""

    def __init__(self, mixes: Shelf, folder: Path) -> None:
        """`folder`: where adapters are written for vLLM; what is in it goes."""
        self._mixes, self._folder = mixes, folder
        self._lock = threading.Lock()
        self._command: Command | None = None
        self._loaded: dict[str, str] = {}
        """vLLM's name for an adapter, and ours."""
        self._ranks: dict[str, int] = {}
        self._dropped: list[tuple[float, Path]] = []
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def ranks(self) -> dict[str, int]:
        """Of the adapters that vLLM has, by their names."""
        return {ours: self._ranks[ours] for ours in sorted(self._loaded.values())}

    def begin(self, command: Command) -> None:
        """A new process lives, which knows no adapter."""
        with self._lock:
            self._command, self._loaded = command, {}
            self._mixes.limit = command.max_lora_rank

    def name(self, plan: Plan) -> str:
        """vLLM's name for what a plan asks for, loaded if it was not. Raises UserError where vLLM can't take it."""
        if not plan.everyone:
            return BASE
        name, folder, _, digest = plan.everyone[0]
        wanted = f"{name}-{digest}"
        with self._lock:
            assert self._command
            self._drop_older(name, wanted)
            if wanted not in self._loaded:
                shelf.check(name, folder, self._command.max_lora_rank)
                written = self._write(plan, wanted)
                self._post("load_lora_adapter", lora_name=wanted, lora_path=str(written))
                self._ranks[name], self._loaded[wanted] = shelf.rank(folder), name
        return wanted

    def _drop_older(self, name: str, wanted: str) -> None:
        """Take out what was loaded under this name with other weights, and what is gone from disk."""
        known = set(adapter_names())
        for each in [each for each, ours in self._loaded.items() if (ours == name and each != wanted) or ours not in known]:
            self._post("unload_lora_adapter", lora_name=each)
            del self._loaded[each]
            self._dropped.append((time.monotonic(), self._folder / each))
        for old in [old for old in self._dropped if time.monotonic() - old[0] > KEPT_SECONDS]:
            shutil.rmtree(old[1], ignore_errors=True)
            self._dropped.remove(old)

    def _write(self, plan: Plan, wanted: str) -> Path:
        """The folder that vLLM reads."""
        place = self._folder / wanted
        self._dropped = [each for each in self._dropped if each[1] != place]
        if not place.exists():
            unfinished = self._folder / f".{wanted}"
            adapter.write(plain(self._mixes.make(plan).parts[0].adapter), unfinished)
            unfinished.rename(place)
        return place

    def _post(self, path: str, **fields: str) -> None:
        """Ask vLLM to load or unload. Raises UserError with what it says."""
        assert self._command
        with client(self._command) as asking:
            reply = asking.post(f"/v1/{path}", json=fields, timeout=LOAD_SECONDS)
        if reply.status_code != 200 and path.startswith("load"):
            raise UserError(f"vLLM can't take '{fields['lora_name']}' ({said(reply).rstrip('.')}). Lyceum's engine may: --engine lyceum")


def plain(found: Adapter) -> Adapter:
    """The same deltas with one rank for all layers, padded with zeros, and scale 1."""
    most = found.rank
    factors = {
        layer: Factor(F.pad(each.A.float(), (0, 0, 0, most - each.rank)), F.pad(each.B.float() * each.scale, (0, most - each.rank)), 1.0)
        for layer, each in found.factors.items()
    }
    return Adapter(found.name, factors, found.base_model)


def client(command: Command) -> httpx.Client:
    """Speaks with vLLM behind its socket file."""
    transport = httpx.HTTPTransport(uds=str(command.socket))
    return httpx.Client(transport=transport, base_url="http://vllm", headers=shown(command))


def shown(command: Command) -> dict[str, str]:
    """The header by which vLLM knows us."""
    return {"Authorization": f"Bearer {command.key}"}


def said(reply: httpx.Response) -> str:
    """What vLLM says of an error, in one line; its shapes differ, and none is passed on as it is."""
    try:
        error = reply.json()["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        message = f"status {reply.status_code}"
    return " ".join(str(message).split())[:300]
