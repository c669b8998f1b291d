"""Scores samples with ONNX Runtime: for each line {"model": path, "inputs": {name: numbers}}, one of probabilities."""

import json
import os
import sys
import tempfile

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
stderr = os.dup(2)
for line in sys.stdin:
    request = json.loads(line)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)  # ONNX Runtime is no Python and writes to the file descriptor
        session = onnxruntime.InferenceSession(request["model"], providers=["CPUExecutionProvider"])
        os.dup2(stderr, 2)
        log.seek(0)
        warnings = log.read().decode()
    assert "not used by any node" not in warnings, warnings
    expected = {each.name: TYPES[each.type] for each in session.get_inputs()}
    assert set(expected) == set(request["inputs"]), sorted(expected)
    inputs = {name: np.array(values, dtype=expected[name]) for name, values in request["inputs"].items()}
    (probabilities,) = session.run(["probability"], inputs)
    print(json.dumps(probabilities.tolist()), flush=True)
