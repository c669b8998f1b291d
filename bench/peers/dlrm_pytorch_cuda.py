"""The DLRM of dlrm_pytorch.py on a GPU: times of whole training steps, to set beside those of bench/cuda_steps.ts.

Reads the batches that cuda_steps.ts wrote with --peer-batches into pinned memory and goes through them again and again:
each step copies its batch to the GPU and trains on it. Prints a JSON object a line for each batch size and way:

- eager: as it stands, one kernel after the other;
- fused: all tables in one nn.EmbeddingBag, so one gather and one update instead of 26;
- graph: fused, with the whole step recorded as a CUDA graph;
- compile: fused, with MLPs and interaction through torch.compile.

fp32, tf32 and bf16 (autocast) choose how matrices are multiplied. A way that fails is told and passed over. Without PyTorch it ends with
status 77.
"""

import argparse
import json
import os
import sys
import time

try:
    import numpy as np
    import torch
    from torch import nn
except ImportError as error:
    print(f"python3 has no PyTorch: {error}")
    sys.exit(77)

from dlrm_pytorch import Batches, Dlrm, mlp


class FusedDlrm(nn.Module):
    """The same model with the rows of all tables in one."""

    def __init__(self, table_rows, dim, bottom, top):
        super().__init__()
        self.bag = nn.EmbeddingBag(sum(table_rows), dim, mode="sum", sparse=True)
        nn.init.uniform_(self.bag.weight, -0.01, 0.01)
        self.dense_part = DensePart(len(table_rows), dim, bottom, top)

    def forward(self, x, rows, offsets):
        return self.dense_part(x, self.bag(rows, offsets))


class DensePart(nn.Module):
    """MLPs and interaction, from pooled rows (samples * tables, dim)."""

    def __init__(self, tables, dim, bottom, top):
        super().__init__()
        self.tables, self.dim = tables, dim
        self.bottom = mlp(bottom, True)
        self.top = mlp([dim + (tables + 1) * tables // 2, *top], False)
        self.register_buffer("pairs", torch.tril_indices(tables + 1, tables + 1, -1))

    def forward(self, x, pooled):
        x = self.bottom(x)
        vectors = torch.cat([x.unsqueeze(1), pooled.view(-1, self.tables, self.dim).to(x.dtype)], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        return self.top(torch.cat([x, products[:, self.pairs[0], self.pairs[1]]], dim=1))


def fused_rows(ids, first_rows):
    """Ids table by table (tables, samples) as rows of one table, sample by sample."""
    return (ids + first_rows[:, None]).t().reshape(-1).contiguous()


def pinned(data, fused, device):
    """All full batches in pinned memory: dense features, rows, labels."""
    first_rows = torch.from_numpy(np.concatenate([[0], np.cumsum(data.table_rows)[:-1]]))
    batches = []
    for index in range(len(data)):
        x, ids, y = data.read(index)
        if len(y) < data.samples[0]:
            continue
        parts = (x, fused_rows(ids, first_rows) if fused else ids, y)
        batches.append([part.pin_memory() if device == "cuda" else part.contiguous() for part in parts])
    return batches


def measure(way, precision, data, args):
    device = args.device
    fused = way != "eager"
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    kind = FusedDlrm if fused else Dlrm
    widths = lambda text: [int(width) for width in text.split("-")]
    model = kind(data.table_rows, args.dim, widths(args.bottom), widths(args.top)).to(device)
    if way == "compile":
        torch._dynamo.reset()  # else it would look for one program for all sizes
        model.dense_part = torch.compile(model.dense_part, dynamic=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_of = nn.BCEWithLogitsLoss()
    batches = pinned(data, fused, device)
    offsets = torch.arange(batches[0][1].shape[-1], device=device)
    place = [part.to(device) for part in batches[0]]

    def train():
        x, rows, y = place
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = model(x, rows, offsets)
        loss = loss_of(logits.float(), y)
        loss.backward()
        optimizer.step()

    if way == "graph":
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                train()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            train()
        run = graph.replay
    else:
        run = train

    def step(index):
        for part, source in zip(place, batches[index % len(batches)]):
            part.copy_(source, non_blocking=True)
        run()

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for index in range(5):
        step(index)
    wait()
    began, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - began < args.seconds:
        step(steps)
        steps += 1
        if steps % 32 == 0:
            wait()  # the queue must not run away from the clock
    wait()
    return (time.perf_counter() - began) / steps


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="a folder with a folder of batches for each batch size")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--ways", default="eager,fused,graph,compile")
    parser.add_argument("--precisions", default="fp32,tf32,bf16")
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--bottom", default="13-512-256-64-16")
    parser.add_argument("--top", default="512-256-1")
    parser.add_argument("--seconds", type=float, default=0.5)
    args = parser.parse_args()
    sets = {}
    for size in sorted(map(int, os.listdir(args.data))):
        folder = os.path.join(args.data, str(size))
        sets[size] = Batches(folder)
        sets[size].table_rows = json.load(open(os.path.join(folder, "batches.json")))["tableRows"]
    # What may take longest comes last.
    for way in args.ways.split(","):
        for size, data in sets.items():
            for precision in args.precisions.split(","):
                told = {"event": "pytorch", "way": way, "precision": precision, "batchSize": size, "torch": torch.__version__}
                try:
                    seconds = measure(way, precision, data, args)
                    told.update(stepMs=1000 * seconds, samplesPerSecond=size / seconds)
                except Exception as error:
                    told["failed"] = f"{type(error).__name__}: {error}".split("\n")[0][:300]
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
