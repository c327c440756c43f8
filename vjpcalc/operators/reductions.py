"""Operators that reduce or scan along dimensions."""

from vjpcalc.operators.operator import array, composed, family, movement

family("Reductions")
array("sum(x, dim: axes = None, keepdim: flag = False)", torch="sum(x, dim, keepdim)",
      numpy="sum(x, axis=dim, keepdims=keepdim)", complex="numpy", vjp={"x": "restore(g, x, dim, keepdim)"})  # fmt: skip
movement("restore(g, x, dim: axes, keepdim: flag)", numpy="kernels.restore(g, x, dim, keepdim)", hidden=True,
         note="g with the dimensions that a reduction of x took away put back as 1")  # fmt: skip
composed("norm(x)", torch="linalg.vector_norm", ref="sqrt(sum(x * x))", kinks="sum(x * x) == 0", vjp={"x": "g * x / y"})
