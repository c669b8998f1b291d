"""LightGBM, or hashed logistic regression, on the rows that accuracy.ts wrote; options chosen on the validation split.

    accuracy_sklearn.py FOLDER trees|logistic

Trees: rate .05, 31 or 63 leaves, ids as categories or as numbers (by frequency), stopped early. Logistic regression:
one-hot ids in 2**20 buckets, dense features, L2. Writes the logits of the test split. Needs lightgbm and scikit-learn.
"""

import json
import os
import sys

import numpy as np

folder, kind = sys.argv[1:]
shape = json.load(open(os.path.join(folder, "shape.json")))
tables = shape["tables"]


def read(split):
    of = lambda name, kind: np.fromfile(os.path.join(folder, f"{split}.{name}"), dtype=kind)
    labels = of("labels.u8", np.uint8)
    return labels, of("dense.f32", np.float32).reshape(len(labels), -1), of("ids.u32", np.uint32).reshape(-1, tables)


def loss(logits, labels):
    return np.mean(np.logaddexp(0, logits) - labels * logits)


def trees(train, validation, test):
    import lightgbm

    features = lambda split: np.hstack([split[1], split[2].astype(np.float32)])
    best = (np.inf, None)
    for leaves in (31, 63):
        for categories in ([], list(range(train[1].shape[1], train[1].shape[1] + tables))):
            make = lambda split, of=None: lightgbm.Dataset(
                features(split), split[0], categorical_feature=categories, reference=of, free_raw_data=False
            )
            data = make(train)
            parameters = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05, "verbosity": -1}
            parameters |= {"num_threads": 1, "seed": 1, "deterministic": True}
            stop = lightgbm.early_stopping(50, verbose=False)
            model = lightgbm.train(parameters, data, 1000, [make(validation, data)], callbacks=[stop])
            found = loss(model.predict(features(validation), raw_score=True), validation[0])
            if found < best[0]:
                best = (found, model)
    return best[1].predict(features(test), raw_score=True)


def logistic(train, validation, test):
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import LogisticRegression

    first = np.concatenate([[0], np.cumsum(shape["rows"])[:-1]]).astype(np.uint64)
    mean, deviation = train[1].mean(0), train[1].std(0) + 1e-6

    def features(split):
        labels, dense, ids = split
        buckets = (ids + first) * np.uint64(2654435761) % np.uint64(2**20)
        starts = np.arange(len(labels) + 1) * tables
        hashed = csr_matrix((np.ones(buckets.size), buckets.ravel(), starts), shape=(len(labels), 2**20))
        return hstack([csr_matrix((dense - mean) / deviation), hashed], format="csr")

    x, held_out, tested = features(train), features(validation), features(test)
    used = np.unique(x.indices)  # other buckets keep weight 0
    x, held_out, tested = x[:, used], held_out[:, used], tested[:, used]
    best = (np.inf, None)
    for c in (0.01, 0.03, 0.1, 0.3, 1):
        model = LogisticRegression(C=c, max_iter=100).fit(x, train[0])
        found = loss(model.decision_function(held_out), validation[0])
        if found < best[0]:
            best = (found, model)
    return best[1].decision_function(tested)


chosen = {"trees": trees, "logistic": logistic}[kind]
chosen(read("train"), read("validation"), read("test")).astype(np.float32).tofile(os.path.join(folder, "logits.f32"))
