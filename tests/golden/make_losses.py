"""Trains a small DLRM in plain PyTorch and writes the loss of every step, which golden_test.ts must reproduce, and the
gradients of the first one.

To make losses.json and gradients.json again (Python 3, torch 2.13, any CPU):

    python3 tests/golden/make_losses.py

The initial parameters and all batches follow from one integer hash, below and in golden_model.ts, so that no data lies
between the two programs. `number(stream, i)` is the hash of `stream * 1_000_003 + i` modulo 2^32, over 2^32.

    stream                 meaning
    1 + layer              weight (outputs, inputs) of a layer, row-major, in [-1, 1) * sqrt(6 / (inputs + outputs))
    11 + layer             bias of a layer, in [-0.5, 0.5)
    21 + table             rows of a table, row-major, in [-0.5, 0.5)
    100 + 10 * step        dense features (sample, feature), in [0, 2)
    101 + 10 * step        length of bag (sample, table): the number below 1/8: 0, below 5/8: 1, else 2 to 4
    102 + 10 * step        id of lookup k of the batch in a table of n rows: floor(n * number^2)
    103 + 10 * step        label of a sample: 1 if the number is below 0.8 where the sum of the sample's ids is a multiple
                           of 3, and below 0.2 elsewhere
    104 + 10 * step        weight of a sample, in [0.25, 3), where samples have weights
    105 + 10 * step        weight of lookup k of the batch, in [-1, 3), where lookups have weights

Layers are counted over the bottom MLP, the products V and W of each cross layer, of which V has no bias, and then the top
MLP; or, of a TBSM, the tower, product A without a bias, the MLP of the attention and the top MLP. A sample of a TBSM has
several steps, the last one the candidate: its features and bags are numbered by (sample, step). A model without dense features has no bottom MLP; its top
MLP reads all pooled rows and the products of all pairs of them. A model without tables is the bottom MLP and then the top
one; its batches are those of the others without the lookups. With dropout, value i of the output of a hidden layer, in
the order of the batch, becomes 0 if mix(i ^ mix(key + 0x9E3779B9 * step)) is below the rate times 2^32, where steps count
from 1 and key = mix(mix(seed) + place) with the number of the hidden layer, from 0. Tables have so few rows that all batches repeat some.
"""

import base64
import json
import math
import os

import numpy as np
import torch
from torch.optim.adam import adam

DENSE, DIM, BATCH, STEPS = 4, 8, 16, 100
TABLE_ROWS = [3, 40, 7, 100, 1]
BOTTOM = [DENSE, 16, DIM]
TABLES = len(TABLE_ROWS)
TOP = [DIM + (TABLES + 1) * TABLES // 2, 16, 1]
TOP_WITHOUT_DENSE = [TABLES * DIM + TABLES * (TABLES - 1) // 2, 16, 1]
TOP_WITHOUT_TABLES = [DIM, 16, 1]
CROSS_LAYERS, CROSS_RANK = 2, 5
STEPS_OF_SAMPLE = 4
LEARNING_RATES = {"sgd": 0.1, "adagrad": 0.05, "rwsadagrad": 0.05, "adam": 0.01, "adamw": 0.01}
WEIGHT_DECAY = {"adam": 0.02, "adamw": 0.05}
EPSILON = 1e-10
POSITIVE_WEIGHT, LABEL_SMOOTHING = 3.0, 0.1
LARGEST_NORM = 0.5
ROW_L2 = 0.03
DROPOUT, SEED = 0.3, 5


def mix(x):
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def number(stream, i):
    return mix((stream * 1_000_003 + i) & 0xFFFFFFFF) / 2**32


def tensor(stream, shape, scale, shift):
    values = [scale * number(stream, i) + shift for i in range(math.prod(shape))]
    return torch.tensor(np.array(values, dtype=np.float64).astype(np.float32).reshape(shape))


class Dlrm(torch.nn.Module):
    steps = 1

    def __init__(self, has_dense=True, has_tables=True, pooling="sum", dropout=0.0, has_lookup_weights=False):
        super().__init__()
        self.dropout = dropout
        self.has_lookup_weights = has_lookup_weights
        self.step = 0
        layers = []
        top = TOP if has_dense and has_tables else TOP_WITHOUT_DENSE if has_tables else TOP_WITHOUT_TABLES
        for widths in (BOTTOM, top) if has_dense else (top,):
            for inputs, outputs in zip(widths, widths[1:]):
                linear = torch.nn.Linear(inputs, outputs)
                bound = math.sqrt(6 / (inputs + outputs))
                linear.weight.data = tensor(1 + len(layers), (outputs, inputs), 2 * bound, -bound)
                linear.bias.data = tensor(11 + len(layers), (outputs,), 1, -0.5)
                layers.append(linear)
        self.has_dense = has_dense
        self.bottom = torch.nn.ModuleList(layers[:-2])
        self.top = torch.nn.ModuleList(layers[-2:])
        self.tables = torch.nn.ModuleList()
        for t, rows in enumerate(TABLE_ROWS if has_tables else []):
            table = torch.nn.EmbeddingBag(rows, DIM, mode=pooling, sparse=True)
            table.weight.data = tensor(21 + t, (rows, DIM), 1, -0.5)
            self.tables.append(table)

    def layers(self):
        return [*self.bottom, *self.top]

    def parameters_without_tables(self):
        return [p for layer in self.layers() for p in layer.parameters()]

    def dropped(self, x, place):
        if self.dropout == 0:
            return x
        key = mix((mix(SEED) + place) & 0xFFFFFFFF)
        mask = mix((key + 0x9E3779B9 * self.step) & 0xFFFFFFFF)
        kept = [mix(i ^ mask) >= self.dropout * 2**32 for i in range(x.numel())]
        return x * torch.tensor(kept).reshape(x.shape) / (1 - self.dropout)

    def forward(self, dense, bags):
        x = dense
        for place, layer in enumerate(self.bottom):
            x = torch.relu(layer(x))
            x = self.dropped(x, place) if place < len(self.bottom) - 1 else x
        if len(self.tables) > 0:
            x = self.interact(x, [table(*bag) for table, bag in zip(self.tables, bags)])
        for place, layer in enumerate(self.top[:-1], len(self.bottom) - 1):
            x = self.dropped(torch.relu(layer(x)), place)
        return self.top[-1](x).squeeze(1)

    def interact(self, x, pooled):
        vectors = torch.stack([x] + pooled if self.has_dense else pooled, dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        i, j = torch.tril_indices(vectors.shape[1], vectors.shape[1], offset=-1)
        return torch.cat([x if self.has_dense else vectors.flatten(1), products[:, i, j]], dim=1)


class Dcnv2(Dlrm):
    """Low-rank cross layers over the concatenation, in place of the products."""

    def __init__(self):
        super().__init__()
        width = DIM * (TABLES + 1)
        first = len(self.bottom)
        shapes = [(CROSS_RANK, width), (width, CROSS_RANK)] * CROSS_LAYERS + [(16, width), (1, 16)]
        layers = []
        for i, (outputs, inputs) in enumerate(shapes):
            is_v = i < 2 * CROSS_LAYERS and i % 2 == 0
            linear = torch.nn.Linear(inputs, outputs, bias=not is_v)
            bound = math.sqrt(6 / (inputs + outputs))
            linear.weight.data = tensor(1 + first + i, (outputs, inputs), 2 * bound, -bound)
            if not is_v:
                linear.bias.data = tensor(11 + first + i, (outputs,), 1, -0.5)
            layers.append(linear)
        self.cross = torch.nn.ModuleList(layers[:-2])
        self.top = torch.nn.ModuleList(layers[-2:])

    def layers(self):
        return [*self.bottom, *self.cross, *self.top]

    def interact(self, x, pooled):
        x0 = x = torch.cat([x] + pooled, dim=1)
        for v, w in zip(self.cross[::2], self.cross[1::2]):
            x = x0 * w(v(x)) + x
        return x


class Tbsm(Dlrm):
    """A tower of MLPs and products for each step, and attention of the last step to those before it."""

    steps = STEPS_OF_SAMPLE

    def __init__(self):
        super().__init__()
        first = len(self.bottom)
        features = DIM + (TABLES + 1) * TABLES // 2
        others = self.steps - 1
        shapes = [(15, features), (15, 15), (15, 15), (15, others), (15, 15), (others, 15), (16, 30), (1, 16)]
        layers = []
        for i, (outputs, inputs) in enumerate(shapes):
            linear = torch.nn.Linear(inputs, outputs, bias=i != 2)
            bound = math.sqrt(6 / (inputs + outputs))
            linear.weight.data = tensor(1 + first + i, (outputs, inputs), 2 * bound, -bound)
            if i != 2:
                linear.bias.data = tensor(11 + first + i, (outputs,), 1, -0.5)
            layers.append(linear)
        self.tower = torch.nn.ModuleList(layers[:2])
        self.a = layers[2]
        self.attention = torch.nn.ModuleList(layers[3:6])
        self.top = torch.nn.ModuleList(layers[6:])

    def layers(self):
        return [*self.bottom, *self.tower, self.a, *self.attention, *self.top]

    def forward(self, dense, bags):
        x = dense.reshape(-1, DENSE)
        for layer in self.bottom:
            x = torch.relu(layer(x))
        x = self.interact(x, [table(*bag) for table, bag in zip(self.tables, bags)])
        for layer in self.tower:
            x = torch.relu(layer(x))
        z = torch.nn.functional.normalize(x, p=2, dim=1).reshape(-1, self.steps, 15)
        history, candidate = z[:, :-1], z[:, -1:]
        square = self.a.weight.T @ self.a.weight
        weights = torch.bmm(history, (candidate @ square).transpose(1, 2)).squeeze(2)
        for layer in self.attention[:-1]:
            weights = torch.relu(layer(weights))
        weights = torch.sigmoid(self.attention[-1](weights))
        context = torch.bmm(weights.unsqueeze(1), history)
        x = torch.cat([context, candidate], dim=2).squeeze(1)
        return self.top[1](torch.relu(self.top[0](x))).squeeze(1)


def machine(pooled, degree):
    """The logit of a factorisation machine: the weights at the end of rows, and the products of the values before."""
    rows = torch.stack(pooled, dim=1)
    factors = rows[:, :, :-1]
    pairs = (factors.sum(dim=1) ** 2 - (factors**2).sum(dim=1)).sum(dim=1) / 2
    return rows[:, :, -1].sum(dim=1) + (pairs if degree == 2 else 0)


class MatrixFactorisation(Dlrm):
    """With a linear layer for dense features, or else a bias that is initially zero."""

    def __init__(self, has_dense=True):
        super().__init__()
        self.linear = torch.nn.Linear(DENSE, 1)
        bound = math.sqrt(6 / (DENSE + 1))
        self.linear.weight.data = tensor(1, (1, DENSE), 2 * bound, -bound)
        self.linear.bias.data = tensor(11, (1,), 1, -0.5)
        self.bias = torch.nn.Parameter(torch.zeros(1))
        self.has_dense = has_dense

    def parameters_without_tables(self):
        return list(self.linear.parameters()) if self.has_dense else [self.bias]

    def forward(self, dense, bags):
        pooled = [table(*bag) for table, bag in zip(self.tables, bags)]
        return (self.linear(dense).squeeze(1) if self.has_dense else self.bias) + machine(pooled, 2)


class DeepFm(Dlrm):
    """A factorisation machine beside MLPs over the concatenation: DeepFM, and with degree 1 Wide & Deep."""

    def __init__(self, degree):
        super().__init__()
        self.degree = degree
        width = DIM * (TABLES + 1)
        bound = math.sqrt(6 / (width + 16))
        self.top[0] = torch.nn.Linear(width, 16)
        self.top[0].weight.data = tensor(1 + len(self.bottom), (16, width), 2 * bound, -bound)
        self.top[0].bias.data = tensor(11 + len(self.bottom), (16,), 1, -0.5)

    def interact(self, x, pooled):
        self.pooled = pooled
        return torch.cat([x] + pooled, dim=1)

    def forward(self, dense, bags):
        return super().forward(dense, bags) + machine(self.pooled, self.degree)


def bag_length(u):
    return 0 if u < 1 / 8 else 1 if u < 5 / 8 else 2 + math.floor(8 * u - 5)


def batch(step, model):
    steps = model.steps
    stream = 100 + 10 * step
    dense = tensor(stream, (BATCH, steps * DENSE), 2, 0)
    ids = [[] for _ in TABLE_ROWS]
    offsets = [[] for _ in TABLE_ROWS]
    weights = [[] for _ in TABLE_ROWS]
    labels = []
    k = 0
    for sample in range(BATCH):
        total = 0
        for bag in range(sample * steps * TABLES, (sample + 1) * steps * TABLES):
            t = bag % TABLES
            rows = TABLE_ROWS[t]
            offsets[t].append(len(ids[t]))
            for _ in range(bag_length(number(stream + 1, bag))):
                row = math.floor(rows * number(stream + 2, k) ** 2)
                ids[t].append(row)
                weights[t].append(4 * number(stream + 5, k) - 1)
                total += row
                k += 1
        labels.append(1.0 if number(stream + 3, sample) < (0.8 if total % 3 == 0 else 0.2) else 0.0)
    bags = []
    for i, o, w in zip(ids, offsets, weights):
        factors = torch.tensor(w, dtype=torch.float32) if model.has_lookup_weights else None
        bags.append((torch.tensor(i, dtype=torch.int64), torch.tensor(o), factors))
    return dense, bags, torch.tensor(labels)


class RowWiseAdagrad:
    """Adagrad with one accumulated square a row: the mean over the row, after the gradients of equal rows are added."""

    def __init__(self, tables, rate):
        self.tables = tables
        self.rate = rate
        self.states = [torch.zeros(table.weight.shape[0]) for table in tables]

    def step(self):
        for table, state in zip(self.tables, self.states):
            gradient = table.weight.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
            state[rows] += (values * values).mean(dim=1)
            table.weight.data[rows] -= self.rate * values / (torch.sqrt(state[rows]) + EPSILON).unsqueeze(1)


class LazyAdam:
    """PyTorch's own Adam or AdamW step of the rows that the batch looked up, and of no others; all steps are counted."""

    def __init__(self, tables, rate, weight_decay, decoupled):
        self.tables = tables
        self.settings = {"lr": rate, "weight_decay": weight_decay, "decoupled_weight_decay": decoupled}
        self.moments = [[torch.zeros_like(table.weight.data) for _ in range(2)] for table in tables]
        self.count = 0

    def step(self):
        for table, moments in zip(self.tables, self.moments):
            gradient = table.weight.grad.coalesce()
            rows = gradient.indices()[0]
            weight = table.weight.data[rows]
            mean, square = (moment[rows] for moment in moments)
            steps = [torch.tensor(float(self.count))]
            adam(
                [weight], [gradient.values()], [mean], [square], [], steps, foreach=False, amsgrad=False,
                beta1=0.9, beta2=0.999, eps=1e-8, maximize=False, **self.settings,
            )
            table.weight.data[rows] = weight
            for moment, changed in zip(moments, (mean, square)):
                moment[rows] = changed
        self.count += 1


def clip(dense, sparse, largest):
    """PyTorch's own clipping, over the dense gradients and the coalesced ones of the tables; True if it changed them."""
    values = []
    for weight in sparse:
        weight.grad = weight.grad.coalesce()
        values.append(torch.nn.Parameter(torch.empty_like(weight.grad.values())))
        values[-1].grad = weight.grad.values()
    return bool(torch.nn.utils.clip_grad_norm_(dense + values, largest) > largest)


def add_l2(sparse, factor):
    """Adds each row that the batch looked up, times the factor, to the coalesced gradient of the row."""
    for weight in sparse:
        gradient = weight.grad.coalesce()
        values = gradient.values() + factor * weight.data[gradient.indices()[0]]
        weight.grad = torch.sparse_coo_tensor(gradient.indices(), values, gradient.shape)


def train(
    optimizer, model, largest_norm=None, positive_weight=1.0, label_smoothing=0.0, sample_weights=False, row_l2=0.0
):
    rate = LEARNING_RATES[optimizer]
    dense = model.parameters_without_tables()
    sparse = [table.weight for table in model.tables]
    if optimizer == "sgd":
        optimizers = [torch.optim.SGD(dense + sparse, lr=rate)]
    elif optimizer == "adagrad":
        optimizers = [torch.optim.Adagrad(dense + sparse, lr=rate, eps=EPSILON)]
    elif optimizer in WEIGHT_DECAY:
        decay, decoupled = WEIGHT_DECAY[optimizer], optimizer == "adamw"
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        optimizers = [kind(dense, lr=rate, weight_decay=decay), LazyAdam(model.tables, rate, decay, decoupled)]
    else:
        optimizers = [torch.optim.Adagrad(dense, lr=rate, eps=EPSILON), RowWiseAdagrad(model.tables, rate)]
    losses = []
    clipped = 0
    for step in range(STEPS):
        x, bags, labels = batch(step, model)
        model.step = step + 1
        model.zero_grad()
        smoothed = labels * (1 - label_smoothing) + label_smoothing / 2
        weights = tensor(100 + 10 * step + 4, (BATCH,), 2.75, 0.25) if sample_weights else None
        criterion = torch.nn.BCEWithLogitsLoss(weights, pos_weight=torch.tensor(positive_weight))
        loss = criterion(model(x, bags), smoothed)
        loss.backward()
        if largest_norm is not None:
            clipped += clip(dense, sparse, largest_norm)
        if row_l2 > 0:
            add_l2(sparse, row_l2)
        for each in optimizers:
            each.step()
        losses.append(loss.item())
    return losses if largest_norm is None else {"steps": clipped, "losses": losses}


def gradients(model):
    """The gradients of the first batch: of each layer's weight and bias, then of each table, as base64 of f32."""
    x, bags, labels = batch(0, model)
    torch.nn.BCEWithLogitsLoss()(model(x, bags), labels).backward()
    tables = [table.weight.grad.to_dense() for table in model.tables]
    values = [p.grad for p in model.parameters_without_tables()] + tables
    words = np.concatenate([value.numpy().ravel() for value in values]).astype("<f4")
    return base64.b64encode(words.tobytes()).decode()


if __name__ == "__main__":
    torch.set_num_threads(1)
    losses = {optimizer: train(optimizer, Dlrm()) for optimizer in LEARNING_RATES}
    others = {
        "withoutDense": train("adagrad", Dlrm(has_dense=False)),
        "cross": {optimizer: train(optimizer, Dcnv2()) for optimizer in ("sgd", "adagrad", "adam")},
        "rowL2": {optimizer: train(optimizer, Dlrm(), row_l2=ROW_L2) for optimizer in LEARNING_RATES},
        "mf": {optimizer: train(optimizer, MatrixFactorisation()) for optimizer in ("sgd", "adagrad", "adam")},
        "mfWithoutDense": train("adagrad", MatrixFactorisation(has_dense=False)),
        "tbsm": {optimizer: train(optimizer, Tbsm()) for optimizer in ("sgd", "adagrad", "adam")},
        "deepfm": train("adagrad", DeepFm(2)),
        "wide-deep": train("adagrad", DeepFm(1)),
        "means": {optimizer: train(optimizer, Dlrm(pooling="mean")) for optimizer in LEARNING_RATES},
        "weightedLookups": {optimizer: train(optimizer, Dlrm(has_lookup_weights=True)) for optimizer in LEARNING_RATES},
        "clippedWeightedLookups": train("adagrad", Dlrm(has_lookup_weights=True), LARGEST_NORM),
        "dropout": train("adagrad", Dlrm(dropout=DROPOUT)),
        "withoutTables": train("adagrad", Dlrm(has_tables=False)),
        "weighted": train("adagrad", Dlrm(), positive_weight=POSITIVE_WEIGHT, label_smoothing=LABEL_SMOOTHING),
        "weightedSamples": train("adagrad", Dlrm(), sample_weights=True),
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "losses.json")
    with open(path, "w") as file:
        clipped = {optimizer: train(optimizer, Dlrm(), LARGEST_NORM) for optimizer in LEARNING_RATES}
        version = torch.__version__.split("+")[0]
        result = {"torch": version, "losses": losses, **others, "clipped": clipped}
        json.dump(result, file, indent=1)
        file.write("\n")
    with open(path.replace("losses", "gradients"), "w") as file:
        models = {"dlrm": Dlrm(), "dcnv2": Dcnv2(), "mf": MatrixFactorisation(), "deepfm": DeepFm(2), "wide-deep": DeepFm(1)}
        models["tbsm"] = Tbsm()
        models["means"] = Dlrm(pooling="mean")
        models["weightedLookups"] = Dlrm(has_lookup_weights=True)
        json.dump({name: gradients(model) for name, model in models.items()}, file, indent=1)
        file.write("\n")
