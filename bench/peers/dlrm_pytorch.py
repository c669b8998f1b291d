"""The same DLRM, data and batches in PyTorch: reads the cold batches of a Hotset layout and trains on them.

Written as facebookresearch/dlrm has it: one nn.EmbeddingBag(mode="sum", sparse=True) a table, bottom and top MLP of
nn.Linear and ReLU, interaction by a batched product and its lower triangle, BCE on logits, SGD or Adagrad.
Prints one JSON object. Needs PyTorch (pip install torch numpy).
"""

import argparse
import json
import os
import time

import numpy as np
import torch
from torch import nn


class Batches:
    """The records of a layout's cold batches; see src/layout/batch.ts for what they hold."""

    HEADER = 16

    def __init__(self, layout, table_rows):
        body = json.load(open(os.path.join(layout, "manifest.json")))["body"]
        self.shape = body["shape"]
        assert not self.shape["bags"], "this peer reads one lookup a table"
        self.words = np.memmap(os.path.join(layout, "cold.batches"), dtype=np.uint32, mode="r")
        positions = np.fromfile(os.path.join(layout, "cold.positions.f64"), dtype=np.float64)
        self.starts = (positions[:-1] / 4).astype(np.int64)
        self.first_rows = np.concatenate([[0], np.cumsum(table_rows)[:-1]])

    def __len__(self):
        return len(self.starts)

    def read(self, index):
        size, dense, tables = self.shape["batchSize"], self.shape["denseFeatures"], self.shape["tables"]
        record = self.words[self.starts[index]:]
        samples = int(record[0])
        labels_at, dense_at = self.HEADER, self.HEADER + size
        indices_at = dense_at + size * dense
        floats = record[: indices_at].view(np.float32)
        x = torch.from_numpy(floats[dense_at: dense_at + samples * dense].reshape(samples, dense).copy())
        y = torch.from_numpy(floats[labels_at: labels_at + samples].reshape(samples, 1).copy())
        rows = record[indices_at: indices_at + samples * tables].reshape(samples, tables).astype(np.int64)
        return x, torch.from_numpy(np.ascontiguousarray((rows - self.first_rows).T)), y


def mlp(widths, last_relu):
    layers = []
    for i, (m, n) in enumerate(zip(widths, widths[1:])):
        layers.append(nn.Linear(m, n))
        if last_relu or i < len(widths) - 2:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Dlrm(nn.Module):
    def __init__(self, table_rows, dim, bottom, top):
        super().__init__()
        self.tables = nn.ModuleList()
        for rows in table_rows:
            bag = nn.EmbeddingBag(rows, dim, mode="sum", sparse=True, _weight=torch.empty(rows, dim))
            nn.init.uniform_(bag.weight, -(rows**-0.5), rows**-0.5)
            self.tables.append(bag)
        vectors = len(table_rows) + 1
        self.bottom = mlp(bottom, True)
        self.top = mlp([dim + vectors * (vectors - 1) // 2, *top], False)
        self.pairs = torch.tril_indices(vectors, vectors, -1)

    def forward(self, x, rows, offsets):
        x = self.bottom(x)
        vectors = torch.stack([x] + [bag(r, offsets) for bag, r in zip(self.tables, rows)], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        return self.top(torch.cat([x, products[:, self.pairs[0], self.pairs[1]]], dim=1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layout", required=True)
    parser.add_argument("--tables", required=True, help="rows of each table, with commas")
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--bottom", required=True)
    parser.add_argument("--top", required=True)
    parser.add_argument("--optimizer", choices=["sgd", "adagrad"], required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batches", type=int, default=1 << 30)
    parser.add_argument("--warmup", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    widths = lambda text: [int(width) for width in text.split("-")]
    table_rows = [int(rows) for rows in args.tables.split(",")]
    data = Batches(args.layout, table_rows)
    model = Dlrm(table_rows, args.dim, widths(args.bottom), widths(args.top))
    make = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}[args.optimizer]
    optimizer = make(model.parameters(), lr=args.learning_rate)
    loss_of = nn.BCEWithLogitsLoss()
    offsets = torch.arange(data.shape["batchSize"])
    samples, losses, began = 0, [], time.perf_counter()
    count = min(len(data), args.batches)
    for index in range(count):
        if index == args.warmup:
            samples, losses, began = 0, [], time.perf_counter()
        x, rows, y = data.read(index)
        loss = loss_of(model(x, rows, offsets[: len(y)]), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        samples += len(y)
        losses.append(loss.item())
    seconds = time.perf_counter() - began
    print(json.dumps({
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "samples": samples,
        "seconds": seconds,
        "samplesPerSecond": samples / seconds,
        "loss": float(np.mean(losses)),
    }))


if __name__ == "__main__":
    main()
