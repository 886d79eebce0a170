"""How named tensors are laid out in one vector of parameters, and how that is cut in chunks."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .errors import LayoutError

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a layout: ``size`` elements from ``offset`` on, row-major."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Layout:
    """Tensors one after the other, without gaps; the same for everyone who knows names and shapes.

    Source: ``docs/spec/log.md``, ``log-description``. A tensor without dimensions counts as one of shape ``[1]``.
    """

    def __init__(self, tensors: Iterable[tuple[str, Sequence[int]]]) -> None:
        """Lays the tensors out in the order given; :meth:`by_name` is what new runs use.

        Raises:
            LayoutError: no tensors; a name repeated, or not 1 to 128 characters of ``A-Z a-z 0-9 . _ -``; an empty tensor.
        """
        placed: list[Tensor] = []
        offset = 0
        for name, shape in tensors:
            tensor = Tensor(name, tuple(int(d) for d in shape) or (1,), offset)
            if not _NAME.fullmatch(name):
                raise LayoutError(f"tensor {name!r}: a name is 1 to 128 characters of A-Z a-z 0-9 . _ -")
            if tensor.size == 0:
                raise LayoutError(f"tensor {name!r} of shape {list(tensor.shape)} has no elements")
            placed.append(tensor)
            offset += tensor.size
        names = [t.name for t in placed]
        repeated = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) != len(names) else []
        if not placed or repeated:
            raise LayoutError(f"tensor {repeated[0]!r} is there twice" if repeated else "there are no parameters")
        self.tensors: tuple[Tensor, ...] = tuple(placed)
        self.n_params = offset
        self._by_name = {t.name: t for t in placed}

    @classmethod
    def by_name(cls, shapes: Mapping[str, Sequence[int]]) -> "Layout":
        """The layout of these tensors sorted by name (by code point), whatever order they come in."""
        return cls((name, shapes[name]) for name in sorted(shapes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.tensors == other.tensors

    def __hash__(self) -> int:
        return hash(self.tensors)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors)

    def __repr__(self) -> str:
        return f"Layout({', '.join(f'{t.name} {list(t.shape)}' for t in self.tensors)})"

    def to_json(self) -> dict[str, object]:
        """As in ``run.json``."""
        rows = [{"len": t.size, "name": t.name, "offset": t.offset, "shape": list(t.shape)} for t in self.tensors]
        return {"tensors": rows}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "Layout":
        """Reads what :meth:`to_json` wrote.

        Raises:
            LayoutError: anything else.
        """
        try:
            rows = value["tensors"]
            layout = cls((row["name"], row["shape"]) for row in rows)  # type: ignore[attr-defined]
        except (KeyError, TypeError) as error:
            raise LayoutError(f"not a layout: {error!r}") from error
        if layout.to_json() != {"tensors": rows}:
            raise LayoutError("the tensors of the layout have gaps or other lengths than their shapes say")
        return layout

    def locate(self, index: int) -> tuple[Tensor, int]:
        """The tensor that parameter ``index`` is in, and its position there."""
        for tensor in self.tensors:
            if tensor.offset <= index < tensor.offset + tensor.size:
                return tensor, index - tensor.offset
        raise LayoutError(f"parameter {index} is outside a layout of {self.n_params}")

    def flatten(self, values: Mapping[str, npt.ArrayLike], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """One vector of all values, in the order of the layout.

        Raises:
            LayoutError: a tensor is missing, unknown or of another shape.
        """
        unknown = sorted(set(values) - set(self._by_name))
        if unknown:
            raise LayoutError(f"tensor {unknown[0]!r} is not in the layout")
        out = np.empty(self.n_params, dtype=dtype)
        for t in self.tensors:
            if t.name not in values:
                raise LayoutError(f"tensor {t.name!r} is missing")
            value = np.asarray(values[t.name])
            if (value.shape or (1,)) != t.shape:
                raise LayoutError(f"tensor {t.name!r}: expected shape {list(t.shape)}, got {list(value.shape)}")
            out[t.offset : t.offset + t.size] = value.reshape(-1)
        return out

    def unflatten(self, vector: npt.NDArray[np.generic]) -> dict[str, npt.NDArray[np.generic]]:
        """Views of the vector, by name, in the shapes of the layout.

        Raises:
            LayoutError: the vector has another length.
        """
        if vector.shape != (self.n_params,):
            raise LayoutError(f"expected a vector of {self.n_params} values, got shape {list(vector.shape)}")
        return {t.name: vector[t.offset : t.offset + t.size].reshape(t.shape) for t in self.tensors}


def chunk_ranges(n_params: int, n_chunks: int) -> list[range]:
    """The chunks of a step: ``n_chunks`` pieces of ``ceil(n / n_chunks)`` parameters, the last ones shorter.

    Source: ``circuits::opening::chunks``.
    """
    if n_chunks < 1:
        raise LayoutError(f"expected 1 or more chunks, got {n_chunks}")
    length = -(-n_params // n_chunks)
    return [range(min(c * length, n_params), min((c + 1) * length, n_params)) for c in range(n_chunks)]


def auto_chunks(n_params: int, largest: int = 131_072) -> int:
    """The number of chunks at which none has more than ``largest`` parameters, what one proof comfortably takes."""
    return -(-n_params // largest)
