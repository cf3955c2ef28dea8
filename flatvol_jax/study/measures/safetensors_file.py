"""Read a .safetensors file: eight bytes of length, a JSON header, the arrays' bytes."""

import json
import struct

import ml_dtypes
import numpy as np
from etils import epath

_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?"},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BF16": ml_dtypes.bfloat16,
}


def read_safetensors(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of the file by name, bfloat16 as float32.

    Raises:
        ValueError: a file that is damaged or of another kind, or a type that is not known.

    Reference: https://github.com/huggingface/safetensors, "Format".
    """
    data = epath.Path(path).read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > len(data) - 8:
            raise ValueError(f"it ends {length - len(data) + 8} bytes early")
        header = json.loads(data[8 : 8 + length])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        body, arrays = memoryview(data)[8 + length :], {}
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            if entry["dtype"] not in _DTYPES:
                raise ValueError(f"{name} has the type {entry['dtype']}")
            array = np.frombuffer(body[begin:end], _DTYPES[entry["dtype"]])
            array = array.reshape(entry["shape"])
            arrays[name] = array.astype(np.float32) if entry["dtype"] == "BF16" else array.copy()
    except (struct.error, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: it cannot be read as safetensors ({error}).") from error
    return arrays
