"""Frames against the format's own library."""

import numpy as np
import pytest
import safetensors.numpy

from cairn.errors import FrameError
from cairn.frames import decode, encode

TENSORS = {
    "b": np.arange(3, dtype=np.int32),
    "a.w": np.arange(6, dtype=np.float64).reshape(2, 3),
    "v": np.array([2**63 - 1], dtype=np.uint64),
    "f": np.array([0.5, -1.0], dtype=np.float32),
    "s": np.array(7, dtype=np.int64),
}


def equal(got, expected):
    assert set(got) == set(expected)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype and got[name].shape == value.shape
        assert got[name].tolist() == value.tolist()


def test_the_library_reads_what_we_write():
    equal(safetensors.numpy.load(encode(TENSORS, {"lr": "5"})), TENSORS)


def test_we_read_what_the_library_writes():
    tensors, metadata = decode(safetensors.numpy.save(TENSORS, metadata={"lr": "5"}))
    equal(tensors, TENSORS)
    assert metadata == {"lr": "5"}


def test_frames_are_the_same_bytes_for_the_same_values():
    assert encode(TENSORS, {"a": "1", "b": "2"}) == encode(dict(reversed(TENSORS.items())), {"b": "2", "a": "1"})


@pytest.mark.parametrize("cut", [0, 7, 20, -1])
def test_truncated_frames_are_refused(cut):
    with pytest.raises(FrameError):
        decode(encode(TENSORS)[:cut])


def test_types_without_a_place_are_refused():
    with pytest.raises(FrameError, match="'x': type complex128"):
        encode({"x": np.zeros(2, dtype=np.complex128)})
