"""Tensor frames (safetensors): what the service takes and gives.

Source: the format's description at https://huggingface.co/docs/safetensors; ``docs/spec/service.md``, "Frames".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import FrameError

_TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code) for name, code in {"I32": "<i4", "U64": "<u8", "F32": "<f4", "F64": "<f8", "I64": "<i8"}.items()
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}


def encode(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """One frame, the same bytes for the same values. Types: int32, int64, uint64, float32, float64.

    Raises:
        FrameError: another type.
    """
    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    parts: list[bytes] = []
    offset = 0
    # The widest types first: then every tensor is aligned, as the format asks.
    for name, value in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        dtype = value.dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise FrameError(f"tensor {name!r}: type {value.dtype} has no place in a frame")
        data = np.ascontiguousarray(value, dtype=dtype).tobytes()
        header[name] = {"dtype": _NAMES[dtype], "shape": list(value.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def decode(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Tensors and metadata of a frame.

    Raises:
        FrameError: other bytes.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        body = memoryview(data)[8 + length :]
        metadata = header.pop("__metadata__", {})
        tensors = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= len(body):
                raise FrameError(f"tensor {name!r} ends outside of the frame")
            tensors[name] = np.frombuffer(body[start:end], _TYPES[entry["dtype"]]).reshape(entry["shape"])
        return tensors, metadata
    except FrameError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FrameError(f"not a tensor frame: {error}") from error
