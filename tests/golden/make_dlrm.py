"""Writes a small DLRM's state dict as safetensors and its scores, which import_test.ts must reproduce.

To make dlrm.safetensors and dlrm_scores.json again (Python 3, torch 2.13, safetensors 0.8, any CPU):

    python3 tests/golden/make_dlrm.py

The model has the modules and names of facebookresearch/dlrm: emb_l, bot_l and top_l. Samples follow from the integer hash of
make_losses.py, here and in import_test.ts, so that no data lies between the two programs:

    stream                 meaning
    1                      dense feature (sample, feature): floor(20 * number); the model takes log(x + 1)
    2                      row (sample, table) in a table of n rows: floor(n * number^2)
"""

import json
import math
import os

import torch
from safetensors.torch import save_file

from make_losses import number

DENSE, TABLES, DIM, SAMPLES = 13, 26, 4, 100
TABLE_ROWS = [2 + 7 * t % 12 for t in range(TABLES)]
BOTTOM = [DENSE, 8, DIM]
TOP = [DIM + (TABLES + 1) * TABLES // 2, 8, 1]


def mlp(widths, last):
    layers = []
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        layers += [torch.nn.Linear(inputs, outputs), last if i == len(widths) - 2 else torch.nn.ReLU()]
    return torch.nn.Sequential(*layers)


class Dlrm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.emb_l = torch.nn.ModuleList(torch.nn.EmbeddingBag(n, DIM, mode="sum") for n in TABLE_ROWS)
        self.bot_l = mlp(BOTTOM, torch.nn.ReLU())
        self.top_l = mlp(TOP, torch.nn.Sigmoid())

    def forward(self, dense, rows):
        x = self.bot_l(dense)
        vectors = torch.stack([x] + [table(rows[:, t : t + 1]) for t, table in enumerate(self.emb_l)], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        i, j = torch.tril_indices(TABLES + 1, TABLES + 1, offset=-1)
        return self.top_l(torch.cat([x, products[:, i, j]], dim=1)).squeeze(1)


def main():
    torch.manual_seed(1)
    model = Dlrm()
    dense = [[math.floor(20 * number(1, s * DENSE + d)) for d in range(DENSE)] for s in range(SAMPLES)]
    rows = [[math.floor(n * number(2, s * TABLES + t) ** 2) for t, n in enumerate(TABLE_ROWS)] for s in range(SAMPLES)]
    with torch.no_grad():
        scores = model(torch.log(torch.tensor(dense, dtype=torch.float32) + 1), torch.tensor(rows))
    folder = os.path.dirname(__file__)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, f"{folder}/dlrm.safetensors")
    with open(f"{folder}/dlrm_scores.json", "w") as file:
        json.dump({"torch": torch.__version__.split("+")[0], "scores": scores.tolist()}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
