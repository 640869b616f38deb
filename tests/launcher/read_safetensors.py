"""Reads a file with the `safetensors` package and prints what is in it as JSON.

usage: read_safetensors.py FILE
"""

import json
import sys
import zlib

import numpy
from safetensors import safe_open


def describe(tensor):
    return {
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "crc32": f"{zlib.crc32(tensor.tobytes()):08x}",
        "sum": float(tensor.astype(numpy.float64).sum()),
    }


def main(path):
    with safe_open(path, framework="numpy") as file:
        tensors = {name: describe(file.get_tensor(name)) for name in file.keys()}
        print(json.dumps({"metadata": file.metadata(), "tensors": tensors}, indent=2))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    main(sys.argv[1])
