"""Dtypes by torch's names; arrays of NumPy and torch made into one another. Imports neither by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, unknown

if TYPE_CHECKING:
    import numpy as np
    import torch

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
DTYPES = (*FLOATS, *INTEGERS, "bool")

ALIASES = {
    "double": "float64", "float": "float32", "half": "float16", "bf16": "bfloat16",
    "f64": "float64", "f32": "float32", "f16": "float16",
    "long": "int64", "int": "int64", "short": "int16", "byte": "uint8",
    "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8", "u8": "uint8",
}  # fmt: skip

# From here on a number rounds to infinity: half a unit beyond the largest of the dtype.
ROUNDS_TO_INFINITY = {
    "float32": (2 - 2.0**-24) * 2.0**127,
    "float16": (2 - 2.0**-11) * 2.0**15,
    "bfloat16": (2 - 2.0**-8) * 2.0**127,
}

# How many decimal digits a number of the dtype has: half a unit in its last place is 10 to the minus so many.
DECIMALS = {"float64": 16, "float32": 7, "float16": 3, "bfloat16": 2}

# NumPy dtypes that torch works with poorly, and what holds their numbers exactly.
WIDER = {"uint16": "int64", "uint32": "int64", "uint64": "int64"}


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A tensor as it was read, before torch has it.

    ``array`` is a NumPy array, or a torch tensor where NumPy has no such dtype (bfloat16). ``dtype`` is the
    dtype that it shall have, by torch's name; None where the numbers were typed in without one: they become
    ``--dtype``.
    """

    array: Any
    dtype: str | None = None

    @classmethod
    def of(cls, array: Any) -> Loaded:
        """An array of NumPy's or torch's with the dtype that it has. Raises Diagnostic (input)."""
        array = normal(array)
        return cls(array, dtype_of(array))

    @property
    def typed(self) -> bool:
        """True if these are numbers typed in, without a dtype of their own."""
        return self.dtype is None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def dtype_or(self, default: str) -> str:
        """The dtype that it shall have, ``--dtype`` being ``default``. True and False typed in stay bool."""
        if self.dtype is not None:
            return self.dtype
        return "bool" if dtype_of(self.array) == "bool" else default

    def tensor(self, default: str = "float64") -> torch.Tensor:
        """A torch tensor of the dtype that it shall have; ``default`` is that of numbers typed in.

        Shares memory with ``array`` where it can. Raises Diagnostic (input) where a number does not fit.
        """
        return to_torch(self.array, self.dtype_or(default))


def canonical(text: str, kind: str = "input") -> str:
    """The dtype of a name or alias: ``f32`` → ``float32``, ``torch.half`` → ``float16``.

    Raises Diagnostic of ``kind`` where there is none.
    """
    name = text.strip().removeprefix("torch.").removeprefix("np.")
    name = ALIASES.get(name, name)
    if name in DTYPES:
        return name
    if name.startswith(("complex", "cfloat", "cdouble")):
        message = f"dtype '{name}': complex tensors are not supported"
        raise Diagnostic(kind, message, hint="give real and imaginary part apart")
    hint = "known are " + " ".join(DTYPES)
    raise unknown(kind, f"unknown dtype '{text.strip()}'", name, [*DTYPES, *ALIASES], hint)


def is_torch(array: Any) -> bool:
    """True if an array is a torch tensor; imports no torch to tell."""
    return type(array).__module__.partition(".")[0] == "torch" or hasattr(array, "requires_grad_")


def dtype_of(array: Any) -> str:
    """The dtype of a NumPy array or a torch tensor, by torch's name."""
    return dtype_name(array.dtype)


def dtype_name(dtype: Any) -> str:
    """A dtype by torch's name: ``float64`` for ``torch.float64``."""
    return str(dtype).removeprefix("torch.")


def to_numpy(array: Any) -> np.ndarray:
    """A NumPy array of the same numbers. bfloat16, which NumPy lacks, becomes float32, exactly."""
    import numpy as np

    if not is_torch(array):
        return np.asarray(array)
    tensor = array.detach().cpu().resolve_conj().resolve_neg()
    return (tensor.float() if dtype_of(tensor) == "bfloat16" else tensor).numpy()


def as_float64(array: Any) -> np.ndarray:
    """An array's numbers as the reference engine takes them: float64, int64 or bool."""
    values = to_numpy(array)
    return values.astype({"f": "float64", "b": "bool"}.get(values.dtype.kind, "int64"), copy=False)


def to_torch(array: Any, dtype: str | None = None) -> torch.Tensor:
    """A torch tensor of the same numbers, of ``dtype`` (default: its own), sharing memory where it can.

    Raises Diagnostic (input) where a number does not fit the dtype: it is never cut off or wrapped around.
    """
    import numpy as np
    import torch

    if dtype is not None and dtype != dtype_of(array):
        check_fits(array, dtype)
    if is_torch(array):
        tensor = array.detach()
    else:
        array = np.asarray(array)
        if not (array.flags.writeable and array.flags.aligned) or any(step < 0 for step in array.strides):
            array = array.copy()
        tensor = torch.from_numpy(array)
    return tensor if dtype is None else tensor.to(getattr(torch, dtype))


def check_fits(array: Any, dtype: str) -> None:
    """Raise Diagnostic (input) where a number of ``array`` has no counterpart in ``dtype``."""
    import numpy as np

    values = to_numpy(array)
    if dtype == "bool":
        wrong, why = (values != 0) & (values != 1), "is neither 0 nor 1"
    elif dtype in INTEGERS and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        # compared as floats: 2**63 is one, and the largest int64 is not
        fits = (values >= float(limits.min)) & (values < float(limits.max) + (dtype != "int64"))
        wrong, why = ~fits | (values != np.floor(values)), f"is not a whole number that fits into {dtype}"
    elif dtype in INTEGERS and values.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        wrong, why = (values < limits.min) | (values > limits.max), f"does not fit into {dtype}"
    elif dtype in ROUNDS_TO_INFINITY and values.dtype.kind in "fiu":
        sizes = np.abs(values.astype(np.float64, copy=False))
        wrong = np.isfinite(values) & (sizes >= ROUNDS_TO_INFINITY[dtype])
        why = f"is too large for {dtype}"
    else:
        return
    if wrong.any():
        first = values[wrong].flat[0].item()
        raise Diagnostic("input", f"{first!r} {why}")


def normal(array: Any) -> Any:
    """A NumPy array of a dtype that torch has, in the machine's byte order; bfloat16 is a torch tensor.

    It may share memory with ``array``, which is NumPy's or torch's. Raises Diagnostic (input) for complex
    numbers, texts, dates, records, Python objects, and tensors that are quantized or sparse.
    """
    if is_torch(array):
        if array.is_quantized or str(array.layout) != "torch.strided":
            what = "quantized" if array.is_quantized else "sparse"
            raise Diagnostic("input", f"{what} tensors are not supported")
        array = array.detach().cpu().resolve_conj().resolve_neg()
        if dtype_of(array) == "bfloat16":
            return array
        if array.is_floating_point() and dtype_of(array) not in FLOATS:
            raise Diagnostic("input", f"dtype {dtype_of(array)} is not one of {' '.join(DTYPES)}")
        array = array.numpy()
    kind = array.dtype.kind
    if kind == "c":
        raise Diagnostic("input", f"complex numbers ({array.dtype}) are not supported")
    if kind not in "fiub" or array.dtype.itemsize > 8:
        raise Diagnostic("input", f"dtype {array.dtype} is not one of {' '.join(DTYPES)}")
    name = WIDER.get(array.dtype.name)
    if name is not None:
        check_fits(array, name)
        return array.astype(name)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
