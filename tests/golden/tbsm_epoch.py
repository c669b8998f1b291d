"""Trains TBSM for one epoch in plain PyTorch on a dataset of sessions, from the initial parameters in a safetensors file,
and prints the loss, the accuracy and the AUC of its test split. Reads {"dataset", "weights", "batch", "rate", "double"} as
JSON; "double" is true for double precision.
"""

import json
import struct
import sys

import numpy as np
import torch

STEPS, DIM = 21, 16


def read_weights(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"])
            tensors[name] = torch.nn.Parameter(torch.tensor(values, dtype=torch.get_default_dtype()))
    return tensors


def logits(w, dense, rows):
    """dense (samples, steps, 1), rows: the ids (samples, steps) of each table."""

    def mlp(x, part, layers, last):
        for i in range(layers):
            x = torch.nn.functional.linear(x, w[f"{part}.{2 * i}.weight"], w[f"{part}.{2 * i}.bias"])
            x = last(x) if i == layers - 1 else torch.relu(x)
        return x

    x = mlp(dense, "bot_l", 1, torch.relu)
    tables = [torch.nn.functional.embedding(ids, w[f"emb_l.{t}.weight"], sparse=True) for t, ids in enumerate(rows)]
    vectors = torch.stack([x, *tables], dim=2)
    products = vectors @ vectors.transpose(2, 3)
    i, j = torch.tril_indices(4, 4, offset=-1)
    z = mlp(torch.cat([x, products[:, :, i, j]], dim=2), "tower_l", 2, torch.relu)
    z = torch.nn.functional.normalize(z, p=2, dim=2)
    history, candidate = z[:, :-1], z[:, -1]
    a = w["attention.A.weight"]
    scores = (history @ (candidate @ (a.T @ a)).unsqueeze(2)).squeeze(2)
    weights = mlp(scores, "attention.mlp", 3, torch.sigmoid)
    context = (weights.unsqueeze(1) @ history).squeeze(1)
    return mlp(torch.cat([context, candidate], dim=1), "top_l", 2, lambda x: x).squeeze(1)


def read_split(directory, split, first_rows):
    labels = np.fromfile(f"{directory}/{split}.labels.u8", dtype=np.uint8)
    dense = np.fromfile(f"{directory}/{split}.dense.f32", dtype="<f4").reshape(len(labels), STEPS, 1)
    indices = np.fromfile(f"{directory}/{split}.indices.u32", dtype="<u4").reshape(len(labels), STEPS, 3).astype(np.int64)
    rows = [torch.tensor(indices[:, :, t] - first) for t, first in enumerate(first_rows)]
    kind = torch.get_default_dtype()
    return torch.tensor(labels, dtype=kind), torch.tensor(dense, dtype=kind), rows


def auc_of(logits, labels):
    """The share of pairs of a positive and a negative that are ordered right, ties counted half."""
    _, place, counts = np.unique(logits, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives = labels.sum()
    return (ranks[labels > 0.5].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))


def main():
    torch.set_num_threads(1)
    given = json.load(sys.stdin)
    torch.set_default_dtype(torch.float64 if given["double"] else torch.float32)
    w = read_weights(given["weights"])
    sizes = [w[f"emb_l.{t}.weight"].shape[0] for t in range(3)]
    first_rows = [0, sizes[0], sizes[0] + sizes[1]]
    optimizer = torch.optim.Adagrad(w.values(), lr=given["rate"])
    labels, dense, rows = read_split(given["dataset"], "train", first_rows)
    criterion = torch.nn.BCEWithLogitsLoss()
    for begin in range(0, len(labels), given["batch"]):
        part = slice(begin, begin + given["batch"])
        optimizer.zero_grad()
        criterion(logits(w, dense[part], [ids[part] for ids in rows]), labels[part]).backward()
        optimizer.step()
    labels, dense, rows = read_split(given["dataset"], "test", first_rows)
    with torch.no_grad():
        found = logits(w, dense, rows)
    accuracy = ((found > 0) == (labels > 0.5)).float().mean()
    auc = auc_of(found.numpy(), labels.numpy())
    print(json.dumps({"logloss": criterion(found, labels).item(), "accuracy": accuracy.item(), "auc": float(auc)}))


main()
