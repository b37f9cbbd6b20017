"""What the PyTorch contestants of contest.ts have in common."""

import json
import resource
import sys
import time
from contextlib import nullcontext

import torch

GEMM_SIDE = 1024


def add_precision(parser):
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--device", default="cpu", help="cuda for a GPU")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")


def precision(arguments):
    """The context that networks run in."""
    return torch.autocast(arguments.device, torch.bfloat16) if arguments.bf16 else nullcontext()


def answer(step, dtype=torch.float32):
    """Answers each line of stdin, `step` or `gemm` (of this type), with the time that it took."""
    a, b = (torch.randn(GEMM_SIDE, GEMM_SIDE).to(dtype) for _ in range(2))
    work = {"step": step, "gemm": lambda: a @ b}
    for line in sys.stdin:
        start, cpu_start = time.perf_counter(), time.process_time()
        work[line.strip()]()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        report = {
            "milliseconds": 1000 * (time.perf_counter() - start),
            "cpuMilliseconds": 1000 * (time.process_time() - cpu_start),
            "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if torch.cuda.is_initialized():
            report["deviceMiB"] = torch.cuda.max_memory_allocated() / 2**20
        print(json.dumps(report), flush=True)
