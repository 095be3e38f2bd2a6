#!/usr/bin/env python3
"""One optimizer step of a plain Hugging Face training loop: what `accordion bench step` is compared with.

    python bench/peers/hf_step.py models/pythia-70m.json --length 1024 --rows 4 --precision bf16

Random weights and tokens; forward with labels, backward, clipping by global norm, AdamW. `bf16` means that weights, gradients and
Adam's moments are all bf16, the fastest plain loop. --checkpointing computes each layer again in the backward pass. Prints one JSON
object with the keys of `accordion bench step`. --profile adds one more step under the profiler.
"""
import argparse
import collections
import json
import resource
import statistics
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def profile(step) -> dict:
    """What `accordion bench step --profile` says, of kernels on a GPU."""
    activities = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activities.CPU, activities.CUDA]) as profiler:
        begin = time.perf_counter()
        step()
        seconds = time.perf_counter() - begin
    kernels, waits = collections.defaultdict(lambda: [0, 0.0]), 0
    for event in profiler.profiler.kineto_results.events():
        if event.device_type() == torch.autograd.DeviceType.CUDA:
            kernels[event.name()][0] += 1
            kernels[event.name()][1] += event.duration_ns() * 1e-9
        waits += event.name() in ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
    operators = sorted(({"name": name, "calls": calls, "seconds": spent} for name, (calls, spent) in kernels.items()),
                       key=lambda one: -one["seconds"])
    return {"seconds": seconds, "busy": sum(one["seconds"] for one in operators), "waits": waits, "operators": operators}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a config.json, or a folder that holds one")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--profile", action="store_true", help="kernels of one more step, on a GPU")
    parser.add_argument("--device", default="cpu", help="cpu | cuda: peak_bytes then are those of tensors on it")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[arguments.precision]
    config = AutoConfig.from_pretrained(arguments.config)
    config.use_cache = False
    if getattr(config, "max_position_embeddings", arguments.length) < arguments.length:
        config.max_position_embeddings = arguments.length
    with torch.device(arguments.device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.train()
    if arguments.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = torch.randint(0, config.vocab_size, (arguments.rows, arguments.length), device=arguments.device)
    on_gpu = arguments.device != "cpu"

    def step():
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if on_gpu:
            torch.cuda.synchronize()
        return loss

    seconds = []
    for _ in range(arguments.steps + 1):  # the first one warms up
        begin = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begin)
    seconds = seconds[1:]
    print(json.dumps({
        "model": arguments.config,
        "parameters": sum(p.numel() for p in model.parameters()),
        "length": arguments.length,
        "rows": arguments.rows,
        "precision": arguments.precision,
        "checkpointing": arguments.checkpointing,
        "threads": arguments.threads,
        "step_seconds": {"min": min(seconds), "median": statistics.median(seconds)},
        "tokens_per_second": arguments.rows * arguments.length / statistics.median(seconds),
        **({"peak_bytes": torch.cuda.max_memory_allocated()} if on_gpu else {}),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "loss": loss.item(),
        **({"profile": profile(step)} if arguments.profile else {}),
        "torch": torch.__version__,
    }))


if __name__ == "__main__":
    main()
