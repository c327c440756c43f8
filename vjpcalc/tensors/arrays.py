"""Array-likes as torch tensors: numbers, nested lists, any library's arrays, records of our own JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is an array)
import torch  # noqa: TID253

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.tensors import dtypes
from vjpcalc.tensors import json as encode
from vjpcalc.tensors.dtypes import Loaded


def as_tensor(value: Any, dtype: torch.dtype, what: str, kind: str = "input") -> torch.Tensor:
    """An array-like as a torch tensor on the CPU: numbers and lists in ``dtype``, arrays in their own.

    It may share memory with the array. Raises Diagnostic of ``kind``, which calls the value ``what``.
    """
    try:
        return _loaded(value).tensor(str(dtype).removeprefix("torch."))
    except Diagnostic as diagnostic:
        raise Diagnostic(kind, f"{what}: {diagnostic.message}", hint=diagnostic.hint) from None


def _loaded(value: Any) -> Loaded:
    if isinstance(value, Loaded):
        return value
    if isinstance(value, torch.Tensor):
        return _from_torch(value)
    if isinstance(value, Mapping):
        return encode.from_json(dict(value))
    if hasattr(value, "__array__"):
        try:
            array = dtypes.normal(np.asarray(value))
        except (TypeError, ValueError, RuntimeError) as error:
            raise Diagnostic("input", f"not an array: {str(error).splitlines()[0]}") from None
        return Loaded(array, dtypes.dtype_of(array))
    try:
        return Loaded(encode.from_list(value))
    except (RuntimeError, TypeError):  # NumPy does not take tensors that require a gradient apart
        return Loaded(encode.from_list(_plain(value)))


def _from_torch(tensor: torch.Tensor) -> Loaded:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        what = "complex" if tensor.is_complex() else "quantized" if tensor.is_quantized else "sparse"
        raise Diagnostic("input", f"{what} tensors are not supported")
    name = dtypes.dtype_of(tensor)
    if name not in dtypes.DTYPES:
        raise Diagnostic("input", f"dtype {name} is not one of {' '.join(dtypes.DTYPES)}")
    return Loaded(tensor.detach().cpu().resolve_neg(), name)


def _plain(value: Any) -> Any:
    """Lists that hold arrays or their numbers, as lists of Python's numbers."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
