"""Scores rows with an exported model in ONNX Runtime; examples/onnx.ts writes both. python3 examples/onnx.py MODEL"""
import json
import sys

import numpy
import onnxruntime

model = sys.argv[1]
with open(model + ".inputs.json") as file:
    given = json.load(file)

inputs = {name: numpy.array(values, dtype=numpy.int64) for name, values in given["inputs"].items() if name != "dense"}
inputs["dense"] = numpy.array(given["inputs"]["dense"], dtype=numpy.float32).reshape(given["samples"], -1)
(probability,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(["probability"], inputs)
for value in probability.reshape(-1):
    print(f"{value:.6f}")
