"""Reads CSV files by Python's own module: paths, encodings and dialects in, rows out, as JSON. A file that it refuses is null."""

import csv
import gzip
import json
import sys

csv.field_size_limit(1 << 24)


def rows(path, compressed, delimiter):
    opener = gzip.open if compressed else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as text:
        try:
            return [row for row in csv.reader(text, delimiter=delimiter, strict=True) if row]
        except csv.Error:
            return None


json.dump([rows(**file) for file in json.load(sys.stdin)], sys.stdout)
