"""Array-likes as torch tensors: numbers, nested lists, any library's arrays, records of our own JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is an array)
import torch  # noqa: TID253

from vjpcalc.diagnostics import Diagnostic, reason
from vjpcalc.tensors.dtypes import Loaded, dtype_name
from vjpcalc.tensors.json import from_json, from_list


def as_tensor(value: Any, dtype: torch.dtype, what: str, kind: str = "input") -> torch.Tensor:
    """An array-like as a torch tensor on the CPU: numbers and lists in ``dtype``, arrays in their own.

    It may share memory with the array. Raises Diagnostic of ``kind``, which calls the value ``what``.
    """
    try:
        return _loaded(value).tensor(dtype_name(dtype))
    except Diagnostic as diagnostic:
        raise Diagnostic(kind, f"{what}: {diagnostic.message}", hint=diagnostic.hint) from None


def _loaded(value: Any) -> Loaded:
    if isinstance(value, Loaded):
        return value
    if isinstance(value, Mapping):
        return from_json(dict(value))
    if hasattr(value, "__array__"):
        try:
            return Loaded.of(value if isinstance(value, torch.Tensor) else np.asarray(value))
        except (TypeError, ValueError, RuntimeError) as error:
            raise Diagnostic("input", f"not an array: {reason(error)}") from None
    try:
        return Loaded(from_list(value))
    except (RuntimeError, TypeError):  # NumPy does not take tensors that require a gradient apart
        return Loaded(from_list(_plain(value)))


def _plain(value: Any) -> Any:
    """Lists that hold arrays or their numbers, as lists of Python's numbers."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
