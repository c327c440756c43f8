"""Operators on each element: arithmetic, comparisons, elementary functions, activations.

In scope in every text: the parameters by name; in ``vjp`` also g (the cotangent) and y (the output).
"""

from vjpcalc.operators.operator import composed, elementwise, family

# ---- arithmetic ----------------------------------------------------------------------------------------------
family("Arithmetic")

elementwise("add(a, b)", infix="+", torch="operator.add", numexpr="a + b", complex="numexpr", vjp={"a": "g", "b": "g"})
elementwise("sub(a, b)", infix="-", torch="operator.sub", numpy="subtract", numexpr="a - b", complex="numexpr",
            aliases="subtract", vjp={"a": "g", "b": "-g"})  # fmt: skip
elementwise("mul(a, b)", infix="*", torch="operator.mul", numpy="multiply", numexpr="a * b", complex="numexpr",
            aliases="multiply", vjp={"a": "g * b", "b": "g * a"})  # fmt: skip
elementwise("div(a, b)", infix="/", torch="operator.truediv", numpy="divide", numexpr="a / b", complex="numexpr",
            aliases="divide true_divide", domain={"b": "nonzero"}, vjp={"a": "g / b", "b": "-g * a / b**2"})  # fmt: skip
elementwise("pow(a, b)", infix="**", torch="operator.pow", numpy="kernels.power", complex="numpy", aliases="power float_power",
            domain={"a": "(0, inf)"}, kinks="(a == 0) & (b < 2) & (b != 0) & (b != 1)",
            vjp={"a": "g * where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))",
                 "b": "g * where((a == 0) & (b >= 0), 0, y * log(a))"})  # fmt: skip
elementwise("neg(x)", torch="operator.neg", numpy="negative", numexpr="-x", complex="numexpr", aliases="negative", vjp={"x": "-g"})
elementwise("positive(x)", numexpr="(x)", complex="numexpr", vjp={"x": "g"})
composed("maximum(a, b)", aliases="max", ref="where((a >= b) | isnan(a), a, b)", kinks="a == b",
         convention="half of g to each of two equal elements",
         vjp={"a": "g * where(a > b, 1, where(a == b, 0.5, 0))", "b": "g * where(a < b, 1, where(a == b, 0.5, 0))"})  # fmt: skip

family("Comparison and choice")
for _name, _sign, _numpy in [
    ("lt", "<", "less"), ("le", "<=", "less_equal"), ("gt", ">", "greater"),
    ("ge", ">=", "greater_equal"), ("eq", "==", "equal"), ("ne", "!=", "not_equal"),
]:  # fmt: skip
    elementwise(f"{_name}(a, b)", infix=_sign, torch=f"operator.{_name}", numpy=_numpy, numexpr=f"a {_sign} b",
                complex="constant", aliases=_numpy, kinks="a == b")  # fmt: skip
elementwise("logical_and(a, b)", infix="&", numexpr="a & b", complex="constant")
elementwise("logical_or(a, b)", infix="|", numexpr="a | b", complex="constant")
elementwise("logical_xor(a, b)", infix="^", numexpr="a ^ b", complex="constant")
elementwise("logical_not(x)", numexpr="~x", complex="constant")
elementwise("isnan(x)", complex="constant")
elementwise("where(condition: constant, a, b)", numexpr="where(condition, a, b)", complex="numexpr",
            vjp={"a": "where(condition, g, 0)", "b": "where(condition, 0, g)"})  # fmt: skip

family("Elementary functions")
elementwise("exp(x)", numexpr="=", complex="numexpr", vjp={"x": "g * y"})
elementwise("log(x)", numexpr="=", complex="numexpr", domain="(0, inf)", vjp={"x": "g / x"})
elementwise("sin(x)", numexpr="=", complex="numexpr", vjp={"x": "g * cos(x)"})
elementwise("cos(x)", numexpr="=", complex="numexpr", vjp={"x": "-g * sin(x)"})
elementwise("tanh(x)", numexpr="=", complex="numexpr", vjp={"x": "g * (1 - y**2)"})
elementwise("sqrt(x)", numexpr="=", complex="numexpr", domain="(0, inf)", kinks="x == 0", vjp={"x": "g / (2 * y)"})
elementwise("asin(x)", aliases="arcsin", numpy="arcsin", complex="numpy", domain="(-1, 1)", kinks="abs(x) == 1",
            vjp={"x": "g / sqrt(1 - x**2)"})  # fmt: skip
composed("abs(x)", aliases="absolute", ref="where(x < 0, -x, x)", kinks="x == 0", convention="0 at 0", vjp={"x": "g * sign(x)"})
elementwise("sign(x)", aliases="sgn", complex="constant", kinks="x == 0", vjp={"x": "0 * g"})

family("Activations")
composed("relu(x)", ref="where((x > 0) | isnan(x), x, 0)", kinks="x == 0", convention="0 at 0", vjp={"x": "where(x > 0, g, 0)"})
composed("sigmoid(x)", aliases="expit", ref="where(x < 0, exp(x) / (1 + exp(x)), 1 / (1 + exp(-x)))", vjp={"x": "g * y * (1 - y)"})
