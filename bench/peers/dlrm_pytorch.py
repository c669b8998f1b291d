"""The same DLRM, data and batches in PyTorch: trains on the batches of a Hotset layout, which peers.ts wrote out.

Written as facebookresearch/dlrm has it: one nn.EmbeddingBag(mode="sum", sparse=True) a table, bottom and top MLP of
nn.Linear and ReLU, interaction by a batched product and its lower triangle, BCE on logits, SGD or Adagrad.
--mapped DIR keeps tables and their Adagrad state in memory-mapped files, which it makes there; --seconds ends early.
--cross-layers and --cross-rank make it a DCNv2: low-rank cross layers over the concatenation instead of the products.
--compile has torch.compile make one program of the MLPs and the interaction, --precision bf16 computes them under autocast.
Prints one JSON object, with the rate of a large product of matrices as the limit. Needs PyTorch (pip install torch numpy),
and a C++ compiler for --compile.
"""

import argparse
import json
import os
import time

import numpy as np
import torch
from torch import nn


class Batches:
    """The batches that peers.ts wrote: for each one its labels, dense features and, table by table, ids."""

    def __init__(self, folder):
        body = json.load(open(os.path.join(folder, "batches.json")))
        self.samples, self.dense, self.tables = body["samples"], body["denseFeatures"], body["tables"]
        self.first = np.concatenate([[0], np.cumsum(self.samples)])
        of = lambda name, kind: np.fromfile(os.path.join(folder, name), dtype=kind)
        self.labels, self.features, self.ids = of("labels.f32", np.float32), of("dense.f32", np.float32), of("ids.i64", np.int64)

    def __len__(self):
        return len(self.samples)

    def read(self, index):
        first, end = self.first[index], self.first[index + 1]
        x = self.features[first * self.dense: end * self.dense].reshape(-1, self.dense)
        ids = self.ids[first * self.tables: end * self.tables].reshape(self.tables, -1)
        return torch.from_numpy(x), torch.from_numpy(ids), torch.from_numpy(self.labels[first: end].reshape(-1, 1))


def mlp(widths, last_relu):
    layers = []
    for i, (m, n) in enumerate(zip(widths, widths[1:])):
        layers.append(nn.Linear(m, n))
        if last_relu or i < len(widths) - 2:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def map_rows(folder, name, rows, dim):
    """Rows in a file of zeros, shared with it."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.truncate(rows * dim * 4)
    return torch.from_file(path, shared=True, size=rows * dim).view(rows, dim)


class Dlrm(nn.Module):
    def __init__(self, table_rows, dim, bottom, top, mapped=None):
        super().__init__()
        self.tables = nn.ModuleList()
        for table, rows in enumerate(table_rows):
            weight = torch.empty(rows, dim) if mapped is None else map_rows(mapped, f"weights-{table}", rows, dim)
            bag = nn.EmbeddingBag(rows, dim, mode="sum", sparse=True, _weight=weight)
            nn.init.uniform_(bag.weight, -(rows**-0.5), rows**-0.5)
            self.tables.append(bag)
        vectors = len(table_rows) + 1
        self.bottom = mlp(bottom, True)
        self.top = mlp([dim + vectors * (vectors - 1) // 2, *top], False)
        self.register_buffer("pairs", torch.tril_indices(vectors, vectors, -1))

    def forward(self, x, rows, offsets):
        return self.dense(x, [bag(r, offsets) for bag, r in zip(self.tables, rows)])

    def dense(self, x, pooled):
        x = self.bottom(x)
        vectors = torch.stack([x] + pooled, dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        return self.top(torch.cat([x, products[:, self.pairs[0], self.pairs[1]]], dim=1))


class Dcnv2(Dlrm):
    def __init__(self, table_rows, dim, bottom, top, mapped, layers, rank):
        super().__init__(table_rows, dim, bottom, top, mapped)
        width = dim * (len(table_rows) + 1)
        self.v = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.w = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))
        self.top = mlp([width, *top], False)

    def dense(self, x, pooled):
        x0 = x = torch.cat([self.bottom(x)] + pooled, dim=1)
        for v, w in zip(self.v, self.w):
            x = x0 * w(v(x)) + x
        return self.top(x)


def gemm_rate(precision):
    """GFLOP/s of a product of 1,024 cubed, the best of 20, with all threads."""
    a, b = (torch.randn(1024, 1024).to(torch.bfloat16 if precision == "bf16" else torch.float32) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * 1024**3 / best / 1e9


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--tables", required=True, help="rows of each table, with commas")
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--bottom", required=True)
    parser.add_argument("--top", required=True)
    parser.add_argument("--cross-layers", type=int, default=0)
    parser.add_argument("--cross-rank", type=int, default=0)
    parser.add_argument("--optimizer", choices=["sgd", "adagrad"], required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--score", action="store_true", help="time forward passes alone")
    parser.add_argument("--batches", type=int, default=1 << 30)
    parser.add_argument("--mapped")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--warmup", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    widths = lambda text: [int(width) for width in text.split("-")]
    table_rows = [int(rows) for rows in args.tables.split(",")]
    data = Batches(args.data)
    shape = (table_rows, args.dim, widths(args.bottom), widths(args.top), args.mapped)
    model = Dcnv2(*shape, args.cross_layers, args.cross_rank) if args.cross_layers > 0 else Dlrm(*shape)
    if args.compile:
        model.dense = torch.compile(model.dense, dynamic=False)
    make = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}[args.optimizer]
    if args.mapped is None:
        optimizer = make(model.parameters(), lr=args.learning_rate)
    else:
        tables = list(model.tables.parameters())
        optimizer = make([p for p in model.parameters() if all(p is not table for table in tables)], lr=args.learning_rate)
        for table, weight in enumerate(tables):
            optimizer.add_param_group({"params": [weight]})
            if args.optimizer == "adagrad":
                state = map_rows(args.mapped, f"state-{table}", *weight.shape)
                optimizer.state[weight] = {"step": torch.tensor(0.0), "sum": state}
    loss_of = nn.BCEWithLogitsLoss()
    offsets = torch.arange(max(data.samples))
    samples, losses, began = 0, [], time.perf_counter()
    until = began + args.seconds
    # A smaller last batch would be compiled for itself, and timed.
    count = min(sum(1 for each in data.samples if each == data.samples[0]), args.batches)
    for index in range(count):
        if index == args.warmup:
            samples, losses, began = 0, [], time.perf_counter()
        x, rows, y = data.read(index)
        with torch.inference_mode(args.score), torch.autocast("cpu", torch.bfloat16, args.precision == "bf16"):
            logits = model(x, rows, offsets[: len(y)])
        loss = loss_of(logits.float(), y)
        if not args.score:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        samples += len(y)
        losses.append(loss.item())
        if time.perf_counter() > until:
            break
    seconds = time.perf_counter() - began
    print(json.dumps({
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "samples": samples,
        "seconds": seconds,
        "samplesPerSecond": samples / seconds,
        "loss": float(np.mean(losses)),
        "gflops": gemm_rate(args.precision),
    }))


if __name__ == "__main__":
    main()
