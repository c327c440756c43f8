"""Linear algebra."""

from vjpcalc.operators.operator import array, family

family("Linear algebra")
array("matmul(a, b)", infix="@", numpy="matmul", complex="numpy", vjp={"a": "g @ b.mT", "b": "a.mT @ g"})
array("inv(a)", torch="linalg.inv", numpy="linalg.inv", complex="numpy", vjp={"a": "-(y.mT @ g @ y.mT)"})
