"""Operators that move elements."""

from vjpcalc.operators.operator import array, family, movement

family("Shape")
movement("getitem(x, index: index)", torch="operator.getitem(x, index)", numpy="operator.getitem(x, index)", hidden=True)
movement("stack(tensors: tensors, dim: newaxis = 0)", torch="stack(tensors, dim=dim)", numpy="stack(tensors, axis=dim)")
movement("reshape(x, *shape: shape)", torch="reshape(x, shape)", numpy="reshape(x, shape)", vjp={"x": "reshape(g, x.shape)"})
array("detach(x)", aliases="stop_gradient", numpy="array", frozen=True, complex="constant")
movement("T(x)", torch="transpose(x, 0, 1)", numpy="matrix_transpose")
movement("mT(x)", torch="transpose(x, -2, -1)", numpy="matrix_transpose")
