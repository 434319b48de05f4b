"""What computing takes in memory, found without memory: the real code runs on tensors that have a shape, a device and no bytes.

`weightless` makes a base model of such tensors from its config.json alone (torch's FakeTensorMode). `LiveBytes` then watches every
operation of the real code and adds up the storages that are alive, so its peak holds for any architecture and method, to the byte.
"""

import ctypes
import json
import resource
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakIdKeyDictionary
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.initialization import no_init_weights
from transformers.quantizers.base import get_keys_to_not_convert
from transformers.quantizers.quantizers_utils import should_convert_module

CGROUPS = Path("/sys/fs/cgroup")
CUDA_BLOCK = 512
"""Bytes that torch's CUDA allocator rounds up to."""
NF4_BLOCK, STATISTICS_BLOCK = 64, 256
"""Weights that share a scale, and scales that share one themselves, in double quantisation."""


@contextmanager
def weightless(
    config: PretrainedConfig, device: torch.device, dtype: torch.dtype, quantization: str = "none"
) -> Iterator[tuple[Any, "LiveBytes"]]:
    """Within: the model of this config, frozen; it and every other new tensor have no bytes, but are counted."""
    with FakeTensorMode(), LiveBytes(device) as live:
        with no_init_weights(), device:
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
            model.tie_weights()
            if quantization == "nf4":
                _hold_in_4_bit(model, dtype)
        yield model.eval().requires_grad_(False), live


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages on a device that are alive. A number read from a tensor without bytes is taken to be 1."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.now = 0
        self.peak = 0
        self.forward_peak = 0
        """The most that was alive when a backward pass began."""
        self._known = WeakIdKeyDictionary()
        self._forward = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and the wrapper costs more than the rest

    def count(self, *tensors: Tensor) -> None:
        """Count tensors; those that operations make within this mode are counted by themselves."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if tensor.device.type == self.device.type and storage not in self._known:
                self._known[storage] = weakref.ref(storage, self._taken(storage.nbytes()))

    def reset_peak(self) -> None:
        """Forget earlier peaks."""
        self.peak = self.forward_peak = self.now

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if operation is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else 1
        forward = torch._C._current_autograd_node() is None
        if self._forward and not forward:
            self.forward_peak = max(self.forward_peak, self.now)
        self._forward = forward
        result = operation(*args, **(kwargs or {}))
        self.count(*(leaf for leaf in tree_iter(result) if isinstance(leaf, Tensor)))
        return result

    def _taken(self, size: int) -> Callable[[Any], None]:
        """Count a storage, and return what to do when it is gone."""
        held = -(-size // CUDA_BLOCK) * CUDA_BLOCK if self.device.type == "cuda" else size

        def given_back(_: Any) -> None:
            self.now -= held

        self.now += held
        self.peak = max(self.peak, self.now)
        return given_back


def give_back() -> None:
    """Let the C library return to the system what is free in its heaps, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def available_bytes(device: torch.device) -> int:
    """Memory that can still be taken: free on the GPU; on a CPU the least of what machine, container and `ulimit -v` leave."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    left = [psutil.virtual_memory().available, *_left_by_control_groups()]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        left.append(limit - psutil.Process().memory_info().vms)
    return max(0, min(left))


def peak_mb(device: torch.device) -> float:
    """The most memory in MB (1e6 bytes) that this process held: what torch took on a GPU, else the process as the system sees it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def stored_bytes(folder: Path) -> Counter[str]:
    """Bytes of a model folder's tensors by their precision (F32, BF16, ...), from the headers of its safetensors files."""
    found: Counter[str] = Counter()
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        for tensor in (about for name, about in header.items() if name != "__metadata__"):
            begin, end = tensor["data_offsets"]
            found[tensor["dtype"]] += end - begin
    return found


def _left_by_control_groups() -> Iterator[int]:
    """What the limits of this process's control groups leave: version 2 with all groups above, and version 1 as a container shows it."""
    groups = Path("/proc/self/cgroup")
    own = CGROUPS / (groups.read_text().rpartition("::")[2].strip().lstrip("/") if groups.exists() else "")
    above = [folder for folder in (own, *own.parents) if folder.is_relative_to(CGROUPS)]
    pairs = [(folder / "memory.max", folder / "memory.current") for folder in above]
    pairs.append((CGROUPS / "memory/memory.limit_in_bytes", CGROUPS / "memory/memory.usage_in_bytes"))
    for limit, used in pairs:
        if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
            yield int(text) - int(used.read_text())


def _hold_in_4_bit(model: Any, dtype: torch.dtype) -> None:
    """What loading with NF4 and double quantisation makes of the linear layers; transformers says of which."""
    kept = get_keys_to_not_convert(model)
    for name, module in model.named_modules():
        if type(module) is nn.Linear and should_convert_module(name, kept):
            _pack(module, dtype)


def _pack(linear: Any, dtype: torch.dtype) -> None:
    """Turn a linear layer into bitsandbytes' 4-bit one: half a byte per weight, a byte per block, 4 bytes per 256 blocks."""
    import bitsandbytes as bnb
    from bitsandbytes.functional import QuantState

    weights, shape, device = linear.weight.numel(), linear.weight.shape, linear.weight.device
    blocks = -(-weights // NF4_BLOCK)
    scales = QuantState(
        absmax=torch.empty(-(-blocks // STATISTICS_BLOCK), device=device),
        code=torch.empty(256, device=device),
        blocksize=STATISTICS_BLOCK,
        dtype=torch.float32,
    )
    linear.__class__ = bnb.nn.Linear4bit
    linear.weight = nn.Parameter(torch.empty(-(-weights // 2), 1, dtype=torch.uint8, device=device), requires_grad=False)
    linear.quant_state = linear.weight.quant_state = QuantState(
        absmax=torch.empty(blocks, dtype=torch.uint8, device=device),
        shape=shape,
        code=torch.empty(16, device=device),
        blocksize=NF4_BLOCK,
        quant_type="nf4",
        dtype=dtype,
        offset=torch.empty((), device=device),
        state2=scales,
    )
    linear.compute_dtype, linear.compute_type_is_set, linear.support_avx512bf16_for_cpu = dtype, True, False
