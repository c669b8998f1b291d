"""Scores samples with ONNX Runtime: {"model": path, "inputs": {name: numbers}} in, the probabilities out, as JSON."""

import json
import sys

import numpy as np
import onnxruntime

request = json.load(sys.stdin)
session = onnxruntime.InferenceSession(request["model"], providers=["CPUExecutionProvider"])
types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
expected = {each.name: types[each.type] for each in session.get_inputs()}
assert set(expected) == set(request["inputs"]), sorted(expected)
inputs = {name: np.array(values, dtype=expected[name]) for name, values in request["inputs"].items()}
(probabilities,) = session.run(["probability"], inputs)
json.dump(probabilities.tolist(), sys.stdout)
