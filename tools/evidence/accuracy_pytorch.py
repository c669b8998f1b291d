"""DLRM in PyTorch on the rows that accuracy.ts wrote: the preset's widths, batches of 128 shuffled samples, one epoch.

Initial weights are drawn as in facebookresearch/dlrm. Writes the logits of the test split. Needs PyTorch and NumPy.
"""

import argparse
import json
import os
import sys

import numpy as np
import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../bench/peers"))
from dlrm_pytorch import Dlrm  # noqa: E402

BATCH = 128


def read(folder, split, shape):
    of = lambda name, kind: np.fromfile(os.path.join(folder, f"{split}.{name}"), dtype=kind)
    labels = torch.from_numpy(of("labels.u8", np.uint8).astype(np.float32))
    dense = torch.from_numpy(of("dense.f32", np.float32)).view(len(labels), shape["denseFeatures"])
    ids = torch.from_numpy(of("ids.u32", np.uint32).astype(np.int64)).view(len(labels), shape["tables"])
    return labels, dense, ids


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--optimizer", choices=["adagrad", "adam"], required=True)
    parser.add_argument("--rate", type=float, required=True)
    args = parser.parse_args()
    shape = json.load(open(os.path.join(args.folder, "shape.json")))
    torch.set_num_threads(1)
    torch.manual_seed(shape["seed"])
    model = Dlrm(shape["rows"], 16, [shape["denseFeatures"], 512, 256, 64, 16], [512, 256, 1])
    for module in model.modules():
        if isinstance(module, nn.Linear):
            n, m = module.weight.shape
            nn.init.normal_(module.weight, std=(2 / (m + n)) ** 0.5)
            nn.init.normal_(module.bias, std=(1 / n) ** 0.5)
        if isinstance(module, nn.EmbeddingBag):
            module.sparse = args.optimizer == "adagrad"
    make = {"adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}[args.optimizer]
    optimizer = make(model.parameters(), lr=args.rate)
    loss_of = nn.BCEWithLogitsLoss()
    labels, dense, ids = read(args.folder, "train", shape)
    for chosen in torch.randperm(len(labels)).split(BATCH):
        optimizer.zero_grad()
        loss = loss_of(model(dense[chosen], list(ids[chosen].T), torch.arange(len(chosen))).squeeze(1), labels[chosen])
        loss.backward()
        optimizer.step()
    labels, dense, ids = read(args.folder, "test", shape)
    with torch.no_grad():
        logits = [
            model(x, list(rows.T), torch.arange(len(x))).squeeze(1) for x, rows in zip(dense.split(4096), ids.split(4096))
        ]
    torch.cat(logits).numpy().tofile(os.path.join(args.folder, "logits.f32"))


main()
