#!/usr/bin/env python3
"""Activations of one optimizer step of a Hugging Face model, as resident memory: what `accordion bench memory` is compared with.

    python bench/peers/memory_step.py --config models/llama-3-proportions.json --length 1024 --method checkpointing

bf16 weights (random), gradients and AdamW moments, rows of random tokens. A warm-up step on a short row loads every library and
makes gradients and moments resident; what the measured step (forward, backward, clipping, update) adds to the resident memory at
its highest point is counted as activations. Prints one JSON object.

On a processor that cannot multiply bf16 PyTorch falls to loops of about 1 GFLOP/s, and a step would take hours. There, and only
there, its bf16 products are replaced by f32 products of blocks of at most 4 MiB (12 MiB in all): that changes the time, not what is
kept, and `products` in the answer says so.

Methods: `none`; `checkpointing`, each layer computed again in the backward pass; `mst`, the Mini-Sequence Transformer's published
code, which checkpoints too. --mst-path is a folder that holds checkouts of github.com/wdlctc/mini-s (llama) and
github.com/wdlctc/transformers (other families) under their names.
"""
import argparse
import contextlib
import importlib.util
import json
import pathlib
import sys
import threading
import time

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

WARM_UP_LENGTH = 64
BLOCK = 1024


def status(key: str) -> int:
    """A figure of this process from the kernel, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


class PeakMeter:
    """`with PeakMeter() as meter: ...`, then meter.base and meter.peak: resident bytes before the block and at its highest point.
    By the kernel's high-water mark where it may be set back, else by looking every millisecond."""

    def __enter__(self) -> "PeakMeter":
        self.base = self.peak = status("VmRSS")
        try:
            pathlib.Path("/proc/self/clear_refs").write_text("5")
            self.method = "VmHWM"
        except OSError:
            self.method = "VmRSS every ms"
            self.done = threading.Event()
            self.thread = threading.Thread(target=self.watch)
            self.thread.start()
        return self

    def watch(self) -> None:
        while not self.done.wait(0.001):
            self.peak = max(self.peak, status("VmRSS"))

    def __exit__(self, *_) -> None:
        if self.method == "VmHWM":
            self.peak = status("VmHWM")
        else:
            self.done.set()
            self.thread.join()


def multiplies_bf16() -> bool:
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def add_product(total: torch.Tensor, a: torch.Tensor, b: torch.Tensor, beta: float, alpha: float) -> torch.Tensor:
    """total = beta total + alpha a b in place, in bf16 by blocks widened to f32."""
    if a.dtype != torch.bfloat16:
        return total.addmm_(a, b, beta=beta, alpha=alpha)
    for i in range(0, a.size(0), BLOCK):
        for j in range(0, b.size(1), BLOCK):
            block = total[i:i + BLOCK, j:j + BLOCK]
            wide = block.float() * beta if beta != 0 else torch.zeros(block.shape)
            for k in range(0, a.size(1), BLOCK):
                wide.addmm_(a[i:i + BLOCK, k:k + BLOCK].float(), b[k:k + BLOCK, j:j + BLOCK].float(), alpha=alpha)
            block.copy_(wide)
    return total


def add_product_out(summand: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta=1, alpha=1, out: torch.Tensor) -> torch.Tensor:
    return add_product(out if out is summand else out.copy_(summand), a, b, beta, alpha)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return add_product(torch.empty(a.size(0), b.size(1), dtype=a.dtype), a, b, 0, 1)


def products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    result = torch.empty(a.size(0), a.size(1), b.size(2), dtype=a.dtype)
    for one, left, right in zip(result, a, b):
        one.copy_(product(left, right))
    return result


def widen_products() -> torch.library.Library:
    """Puts the three above in the place of PyTorch's own, for as long as the result lives."""
    replaced = torch.library.Library("aten", "IMPL")
    replaced.impl("mm", product, "CPU")
    replaced.impl("bmm", products, "CPU")
    replaced.impl("addmm.out", add_product_out, "CPU")
    return replaced


def mini_sequences(model: torch.nn.Module, folder: pathlib.Path) -> torch.nn.Module:
    """The model under the Mini-Sequence Transformer's public entry point for its family."""
    if model.config.model_type == "llama":
        sys.path.insert(0, str(folder / "mini-s"))
        from minis.mini_sequence import minisequence
        return minisequence(model)
    # A fork of transformers holds this one; it runs inside the installed transformers under the name that it has there.
    name = "transformers.integrations.mst"
    path = folder / "transformers/src/transformers/integrations/mst.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.replace_model_with_minis(model)
    return model


def adamw(parameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


class Step:
    """One optimizer step over `accumulate` microbatches. `in_backward` updates each weight as soon as its gradient is whole and frees the
    gradient; there is no clipping then."""

    def __init__(self, model: torch.nn.Module, accumulate: int, in_backward: bool):
        self.model, self.accumulate, self.in_backward = model, accumulate, in_backward
        if not in_backward:
            self.optimizer = adamw(model.parameters())
            return
        optimizers = {parameter: adamw([parameter]) for parameter in model.parameters()}

        def update(parameter):
            optimizers[parameter].step()
            parameter.grad = None
        for parameter in optimizers:
            parameter.register_post_accumulate_grad_hook(update)

    def __call__(self, microbatches: list[torch.Tensor]) -> float:
        total = 0.0
        for tokens in microbatches:
            loss = self.model(input_ids=tokens, labels=tokens).loss / len(microbatches)
            loss.backward()
            total += loss.item()
        if not self.in_backward:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return total

    def clear(self) -> None:
        """Sets the gradients to zero where they lie, so that they stay resident."""
        if not self.in_backward:
            self.optimizer.zero_grad(set_to_none=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="a config.json, or a folder that holds one")
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--method", choices=["none", "checkpointing", "mst"], default="none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1, help="rows of a microbatch")
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches of the step, one after the other")
    parser.add_argument("--in-backward", action="store_true", help="update each weight within the backward pass; no clipping")
    parser.add_argument("--mst-path", type=pathlib.Path, help="folder with the Mini-Sequence Transformer's code")
    arguments = parser.parse_args()
    if arguments.in_backward and arguments.accumulate > 1:
        parser.error("--in-backward updates after every row, so it does not go with --accumulate")
    if arguments.method == "mst" and not arguments.mst_path:
        parser.error("--method mst needs --mst-path")
    return arguments


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    widened = None if multiplies_bf16() else widen_products()
    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(arguments.config)
    config.use_cache = False
    config.max_position_embeddings = max(config.max_position_embeddings, arguments.length)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    attention = model.config._attn_implementation
    model.train()
    if arguments.method == "checkpointing":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with contextlib.redirect_stdout(sys.stderr):  # nothing but our object goes to standard output
        if arguments.method == "mst":
            model = mini_sequences(model, arguments.mst_path)
        step = Step(model, arguments.accumulate, arguments.in_backward)
        generator = torch.Generator().manual_seed(2)

        def microbatches_of(rows, length):
            return list(torch.randint(0, config.vocab_size, (arguments.accumulate, rows, length), generator=generator))
        step(microbatches_of(1, WARM_UP_LENGTH))
        step.clear()
        microbatches = microbatches_of(arguments.rows, arguments.length)
        with PeakMeter() as meter:
            begin = time.perf_counter()
            loss = step(microbatches)
            seconds = time.perf_counter() - begin
    print(json.dumps({
        "config": arguments.config,
        "method": arguments.method,
        "length": arguments.length,
        "rows": arguments.rows,
        "accumulate": arguments.accumulate,
        "in_backward": arguments.in_backward,
        "attention": attention,
        "products": "libtorch's" if widened is None else "f32 by blocks",
        "base_rss_bytes": meter.base,
        "peak_rss_bytes": meter.peak,
        "activations_bytes": meter.peak - meter.base,
        "peak_by": meter.method,
        "loss": loss,
        "step_seconds": seconds,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }))


if __name__ == "__main__":
    main()
