"""Reads a safetensors file with the format's own library: a path in, its tensors out, as JSON."""

import json
import sys

from safetensors.numpy import load_file

json.dump({name: tensor.tolist() for name, tensor in load_file(json.load(sys.stdin)).items()}, sys.stdout)
