"""Operators on each element: arithmetic, comparisons, choice, elementary and special functions.

In scope in every text: the parameters by name; in ``vjp`` also g (the cotangent) and y (the output).
"""

from vjpcalc.operators.registry import composed, elementwise, family

# fmt: off

# ---- arithmetic --------------------------------------------------------------------------------------------
family("Arithmetic", source="torch derivatives.yaml")

elementwise("add(a, b)", infix="+", torch="operator.add", numexpr="a + b", complex="numexpr",
            vjp={"a": "g", "b": "g"},
            example="'a + b' a=1 b=2 --seed 3 -> a = 3; b = 3")
composed("add(a, b, alpha: number)", torch="add(a, b, alpha=alpha)", ref="a + alpha * b",
         vjp={"a": "g", "b": "g * alpha"},
         samples="add(a, b, alpha=2) | a(2,3) b(3)",
         example="'add(a, b, alpha=3)' a=1 b=2 -> a = 1; b = 3")
elementwise("sub(a, b)", infix="-", torch="operator.sub", numpy="subtract", numexpr="a - b",
            complex="numexpr", aliases="subtract", vjp={"a": "g", "b": "-g"},
            example="'a - b' a=1 b=2 --seed 3 -> a = 3; b = -3")
composed("sub(a, b, alpha: number)", aliases="subtract", torch="sub(a, b, alpha=alpha)", ref="a - alpha * b",
         vjp={"a": "g", "b": "-g * alpha"},
         samples="sub(a, b, alpha=2) | a(2,3) b(3)",
         example="'sub(a, b, alpha=3)' a=1 b=2 -> a = 1; b = -3")
composed("rsub(a, b)", torch="rsub", ref="b - a", vjp={"a": "-g", "b": "g"},
         example="'rsub(a, b)' a=1 b=2 -> a = -1; b = 1")
elementwise("mul(a, b)", infix="*", torch="operator.mul", numpy="multiply", numexpr="a * b",
            complex="numexpr", aliases="multiply", vjp={"a": "g * b", "b": "g * a"},
            example="'a * b' a=2 b=5 -> a = 5; b = 2")
elementwise("div(a, b)", infix="/", torch="operator.truediv", numpy="divide", numexpr="a / b",
            complex="numexpr", aliases="divide true_divide", domain={"b": "nonzero"},
            vjp={"a": "g / b", "b": "-g * a / b**2"},
            example="'a / b' a=1 b=4 -> a = 0.25; b = -0.0625")
composed("div(a, b, rounding_mode: text)", aliases="divide", torch="div", complex="constant",
         domain={"b": "nonzero"}, ref="floor_divide(a, b) if rounding_mode == 'floor' else trunc(a / b)",
         kinks="a / b == round(a / b)", convention="0 everywhere", vjp={"a": "0 * g", "b": "0 * g"},
         note="rounding_mode is 'floor' or 'trunc'",
         samples=("div(a, b, rounding_mode='floor') | a(2,3) b(3)",
                  "div(a, b, rounding_mode='trunc') | a(2,3) b(3)"),
         example="'a * div(a, b, rounding_mode=\"floor\")' a=7.5 b=2 -> a = 3; b = 0")
elementwise("floor_divide(a, b)", infix="//", torch="operator.floordiv", frozen=True, complex="constant",
            domain={"b": "nonzero"}, kinks="remainder(a, b) == 0",
            note="no gradient flows through: torch has none for it",
            example="'a * (a // b)' a=7.5 b=2 -> a = 3; b = 0")
elementwise("remainder(a, b)", infix="%", torch="operator.mod", aliases="mod", numpy="kernels.remainder",
            jax="remainder", complex="numpy", domain={"b": "nonzero"}, kinks="fmod(a, b) == 0",
            vjp={"a": "g", "b": "-g * floor(a / b)"},
            note="has the sign of b, as Python's %; fmod has that of a",
            example="'a % b' a=7.5 b=2 -> a = 1; b = -3")
elementwise("fmod(a, b)", numpy="kernels.fmod", jax="fmod", numexpr="fmod(a, b)", complex="numpy",
            domain={"b": "nonzero"}, kinks="(fmod(a, b) == 0) & (a != 0)",
            vjp={"a": "g", "b": "-g * trunc(a / b)"},
            note="has the sign of a, as C's fmod; remainder has that of b",
            example="'fmod(a, b)' a=-7.5 b=2 -> a = 1; b = 3")
elementwise("pow(a, b)", infix="**", torch="operator.pow", numpy="kernels.power", numexpr="a ** b",
            jax="power", complex="numpy", aliases="power float_power", domain={"a": "(0, inf)"},
            kinks="(a == 0) & (b < 2) & (b != 0) & (b != 1)",
            vjp={"a": "g * where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))",
                 "b": "g * where((a == 0) & (b >= 0), 0, y * log(a))"},
            note="a negative base needs a whole exponent; the gradient of b is then NaN",
            example="'a ** b' a=2 b=3 -> a = 12; b = 5.545177")
elementwise("neg(x)", torch="operator.neg", numpy="negative", numexpr="-x", complex="numexpr",
            aliases="negative", vjp={"x": "-g"},
            example="'-x' x=2 -> x = -1")
elementwise("positive(x)", torch="operator.pos", numexpr="(x)", complex="numexpr", vjp={"x": "g"},
            example="'+x' x=2 -> x = 1")
elementwise("reciprocal(x)", numexpr="1 / x", complex="numexpr", domain="nonzero", vjp={"x": "-g * y**2"},
            example="'reciprocal(x)' x=4 -> x = -0.0625")
elementwise("square(x)", numexpr="x * x", complex="numexpr", vjp={"x": "2 * g * x"},
            example="'square(x)' x=3 -> x = 6")
composed("abs(x)", aliases="absolute fabs", ref="where(x < 0, -x, x)", kinks="x == 0", convention="0 at 0",
         vjp={"x": "g * sign(x)"},
         example="'abs(x)' x=-3 -> x = -1")
elementwise("sign(x)", aliases="sgn", numexpr="=", complex="constant", kinks="x == 0",
            convention="0 everywhere", vjp={"x": "0 * g"},
            example="'x * sign(x)' x=-3 -> x = -1")
composed("addcmul(x, a, b, value: number = 1)", torch="addcmul(x, a, b, value=value)",
         ref="x + value * (a * b)", vjp={"x": "g", "a": "g * value * b", "b": "g * value * a"},
         samples=("addcmul(x, a, b) | x(2,3) a(3) b(2,1)",
                  "addcmul(x, a, b, value=-0.5) | x(2,3) a(2,3) b(2,3)"),
         example="'addcmul(x, a, b, value=2)' x=1 a=3 b=5 -> x = 1; a = 10; b = 6")
composed("addcdiv(x, a|tensor1, b|tensor2, value: number = 1)", torch="addcdiv(x, a, b, value=value)",
         ref="x + value * (a / b)", domain={"b": "nonzero"},
         vjp={"x": "g", "a": "g * value / b", "b": "-g * value * a / b**2"},
         samples=("addcdiv(x, a, b) | x(2,3) a(3) b(2,1)",
                  "addcdiv(x, a, b, value=-0.5) | x(2,3) a(2,3) b(2,3)"),
         example="'addcdiv(x, a, b, value=2)' x=1 a=3 b=4 -> x = 1; a = 0.5; b = -0.375")
composed("lerp(a|start, b|end, weight)",
         ref="where(abs(weight) < 0.5, a + weight * (b - a), b - (b - a) * (1 - weight))",
         vjp={"a": "g * (1 - weight)", "b": "g * weight", "weight": "g * (b - a)"},
         example="'lerp(a, b, 0.25)' a=1 b=3 -> a = 0.75; b = 0.25")
composed("ldexp(a, b)", ref="a * 2**b", vjp={"a": "g * 2**b", "b": "g * y * log(2)"},
         example="'ldexp(a, b)' a=3 b=2 -> a = 4; b = 8.317766")

# ---- extrema, choice ---------------------------------------------------------------------------------------
family("Comparison and choice", source="torch derivatives.yaml")

for _name, _sign, _other, _gradient in [
    ("maximum", ">", "<", "[0, 0.5, 1]"), ("minimum", "<", ">", "[1, 0.5, 0]"),
]:
    composed(f"{_name}(a, b)", ref=f"where((a {_sign}= b) | isnan(a), a, b)", kinks="a == b",
             convention="half of g to each of two equal elements",
             vjp={"a": f"g * where(a {_sign} b, 1, where(a == b, 0.5, 0))",
                  "b": f"g * where(a {_other} b, 1, where(a == b, 0.5, 0))"},
             example=f"'{_name}(x, 0)' x='[-1, 0, 2]' --seed '[1, 1, 1]' -> x = {_gradient}")
for _name, _sign, _other, _a, _b in [("fmax", ">=", "maximum", 0, 1), ("fmin", "<=", "minimum", 1, 0)]:
    composed(f"{_name}(a, b)", ref=f"where((a {_sign} b) | isnan(b), a, b)", kinks="a == b",
             convention="all of g to the first of two equal elements",
             vjp={"a": f"where((a {_sign} b) | isnan(b), g, 0)",
                  "b": f"where((a {_sign} b) | isnan(b), 0, g)"},
             note=f"a NaN loses; in {_other} it wins",
             example=f"'{_name}(a, b)' a='[1, 2]' b='[2, 1]' --seed '[1, 1]' -> a = [{_a}, {_b}]; "
                     f"b = [{_b}, {_a}]")
composed("clamp(x, min|a_min: tensor = None, max|a_max: tensor = None)", aliases="clip",
         ref="y = x if min == None else where(x < min, min, x); y if max == None else where(y > max, max, y)",
         kinks="k = x < x; k = k | (x == min) if min != None else k; k | (x == max) if max != None else k",
         convention="1 at the bounds (autograd.numpy's clip has 0)",
         vjp={"x": """h = g if min == None else where(x < min, 0, g)
                      h if max == None else where(x > max, 0, h)""",
              "min": "where(x < min if max == None else (x < min) & (min < max), g, 0)",
              "max": "where(x > max if min == None else (x > max) | (max < min), g, 0)"},
         samples=("clamp(x, -1, 1) | x(2,3)", "clamp(x, min=0.5) | x(4)", "clamp(x, max=b) | x(2,3) b(3)",
                  "clamp(x, a, a + 1) | x(2,3) a(2,1)", "clamp(x, 0, 1) | x(0)"),
         example="'clamp(x, -1, 1)' x='[-2, 0.5, 1, 3]' --seed '[1, 1, 1, 1]' -> x = [0, 1, 1, 0]")
composed("clamp_min(x, min)", ref="where(x < min, min, x)", kinks="x == min", convention="1 at the bound",
         vjp={"x": "where(x < min, 0, g)", "min": "where(x < min, g, 0)"},
         example="'clamp_min(x, 0)' x='[-1, 2]' --seed '[1, 1]' -> x = [0, 1]")
composed("clamp_max(x, max)", ref="where(x > max, max, x)", kinks="x == max", convention="1 at the bound",
         vjp={"x": "where(x > max, 0, g)", "max": "where(x > max, g, 0)"},
         example="'clamp_max(x, 0)' x='[-1, 2]' --seed '[1, 1]' -> x = [1, 0]")
composed("copysign(a, b)", ref="where(logical_xor(signbit(a), signbit(b)), -a, a)",
         kinks="(a == 0) | (b == 0)", convention="0 where a is 0",
         vjp={"a": "where(a == 0, 0, g * y / a)", "b": "0 * g"},
         example="'copysign(a, b)' a=2 b=-3 -> a = -1; b = 0")
elementwise("where(condition: constant, a, b)", numexpr="where(condition, a, b)", complex="numexpr",
            vjp={"a": "where(condition, g, 0)", "b": "where(condition, 0, g)"},
            samples=("where(a > b, a, b) | a(2,3) b(3)", "where(x > 0, 0, x) | x(4)",
                     "where(x > 0, x, -1) | x(0)", "where(a > 0, a, b) | a() b(1)"),
            example="'where(x > 0, x, 0)' x='[-1, 2]' --seed '[1, 1]' -> x = [0, 1]")
elementwise("heaviside(a, b)", complex="constant", frozen=True, kinks="a == 0",
            note="b where a is 0; no gradient flows through: torch has none for it",
            example="'x * heaviside(x, 1)' x=3 -> x = 1")
composed("masked_fill(x, mask: constant, value)", ref="where(mask, value, x)",
         vjp={"x": "where(mask, 0, g)", "value": "sum(where(mask, g, 0))"},
         samples=("masked_fill(x, x > 0, v) | x(2,3) v()", "masked_fill(x, x > 0, -1) | x(4)"),
         example="'masked_fill(x, x < 0, 0)' x='[-1, 2]' --seed '[1, 1]' -> x = [0, 1]")
composed("nan_to_num(x, nan: number = 0, posinf: number = None, neginf: number = None)",
         ref="""y = where(isnan(x), nan, x)
                most = 1.7976931348623157e308
                y = where(y == inf, most if posinf == None else posinf, y)
                where(y == -inf, -most if neginf == None else neginf, y)""",
         vjp={"x": "where(isfinite(x), g, 0)"},
         samples=("nan_to_num(x) | x(3)", "nan_to_num(x / (0 * x), 1, 2, 3) | x(3)"),
         example="'nan_to_num(x)' x='[nan, 2]' --seed '[1, 1]' -> x = [0, 1]")

for _name, _sign, _numpy, _example in [
    ("lt", "<", "less", 3), ("le", "<=", "less_equal", 3), ("gt", ">", "greater", 1),
    ("ge", ">=", "greater_equal", 1), ("eq", "==", "equal", 3), ("ne", "!=", "not_equal", 1),
]:
    elementwise(f"{_name}(a, b)", infix=_sign, torch=f"operator.{_name}", numpy=_numpy,
                numexpr=f"a {_sign} b", complex="constant", aliases=_numpy, kinks="a == b",
                example=f"'where(a {_sign} b, a, 3 * a)' a=2 b=1 -> a = {_example}; b = 0")
elementwise("logical_and(a, b)", infix="&", aliases="bitwise_and", numexpr="a & b", complex="constant",
            example="'where((x > 0) & (x < 1), x, 0)' x=0.5 -> x = 1")
elementwise("logical_or(a, b)", infix="|", aliases="bitwise_or", numexpr="a | b", complex="constant",
            example="'where((x < 0) | (x > 1), x, 0)' x=0.5 -> x = 0")
elementwise("logical_xor(a, b)", infix="^", aliases="bitwise_xor", numexpr="a ^ b", complex="constant",
            example="'where((x < 0) ^ (x < 1), x, 0)' x=0.5 -> x = 1")
elementwise("logical_not(x)", aliases="bitwise_not", numexpr="~x", complex="constant",
            example="'where(~(x > 0), x, 0)' x=0.5 -> x = 0")
for _name, _numexpr, _meaning, _example in [
    ("isnan", "=", "NaN", 1), ("isinf", "=", "inf or -inf", 1),
    ("isposinf", "", "inf", 1), ("isneginf", "", "-inf", 1),
    ("isfinite", "=", "neither NaN nor inf", 0), ("signbit", "=", "negative, or -0", 1),
]:
    elementwise(f"{_name}(x)", numexpr=_numexpr, complex="constant", note=f"true where x is {_meaning}",
                example=f"'where({_name}(x), 0, x)' x=0.5 -> x = {_example}")

# ---- rounding ----------------------------------------------------------------------------------------------
family("Rounding", source="torch derivatives.yaml")

for _name, _example in [("floor", 2), ("ceil", 3)]:
    elementwise(f"{_name}(x)", numexpr="=", complex="constant", kinks="x == floor(x)",
                convention="0 everywhere", vjp={"x": "0 * g"},
                example=f"'x * {_name}(x)' x=2.5 -> x = {_example}")
elementwise("trunc(x)", aliases="fix", numexpr="=", complex="constant", kinks="(x == trunc(x)) & (x != 0)",
            convention="0 everywhere", vjp={"x": "0 * g"},
            example="'x * trunc(x)' x=-2.5 -> x = -2")
elementwise("round(x, decimals: int = 0)", numpy="round(x, decimals)", torch="round(x, decimals=decimals)",
            complex="constant", kinks="t = x * 10.0**decimals; abs(t - trunc(t)) == 0.5",
            convention="0 everywhere", vjp={"x": "0 * g"}, note="halves go to the even neighbour",
            samples=("round(x) | x(2,3)", "round(x, decimals=1) | x(4)", "round(x) | x(0)"),
            example="'x * round(x)' x=2.6 -> x = 3")
composed("frac(x)", ref="x - trunc(x)", kinks="(x == trunc(x)) & (x != 0)", convention="1 everywhere",
         vjp={"x": "g"},
         example="'frac(x)' x=-2.75 -> x = 1")

# ---- exponentials, logarithms, roots -----------------------------------------------------------------------
family("Exponentials, logarithms, roots", source="NIST DLMF 4.10")

elementwise("exp(x)", numexpr="=", complex="numexpr", vjp={"x": "g * y"},
            example="'exp(x)' x=1 -> x = 2.718282")
elementwise("exp2(x)", complex="numpy", vjp={"x": "g * y * log(2)"}, example="'exp2(x)' x=3 -> x = 5.545177")
elementwise("expm1(x)", numexpr="=", complex="numpy", vjp={"x": "g * (y + 1)"},
            note="exp(x) - 1, exact near 0",
            example="'expm1(x)' x=1e-9 -> x = 1")
elementwise("log(x)", numexpr="=", complex="numexpr", domain="(0, inf)", vjp={"x": "g / x"},
            note="the gradient of log at x < 0 is finite, though the value is NaN",
            example="'log(x)' x=4 -> x = 0.25")
elementwise("log2(x)", numexpr="=", complex="numpy", domain="(0, inf)", vjp={"x": "g / (x * log(2))"},
            example="'log2(x)' x=4 -> x = 0.3606738")
elementwise("log10(x)", numexpr="=", complex="numexpr", domain="(0, inf)", vjp={"x": "g / (x * log(10))"},
            example="'log10(x)' x=4 -> x = 0.1085736")
elementwise("log1p(x)", numexpr="=", complex="numpy", domain="(-1, inf)", vjp={"x": "g / (1 + x)"},
            note="log(1 + x), exact near 0",
            example="'log1p(x)' x=1e-9 -> x = 1")
elementwise("sqrt(x)", numexpr="=", complex="numexpr", domain="(0, inf)", kinks="x == 0",
            convention="inf at 0", vjp={"x": "g / (2 * y)"},
            example="'sqrt(x)' x=4 -> x = 0.25")
composed("rsqrt(x)", ref="1 / sqrt(x)", domain="(0, inf)", kinks="x == 0", vjp={"x": "-0.5 * g * y**3"},
         example="'rsqrt(x)' x=4 -> x = -0.0625")
composed("cbrt(x)", torch="", ref="sign(x) * abs(x)**(1 / 3)", kinks="x == 0", convention="NaN at 0",
         vjp={"x": "g / (3 * y**2)"}, note="NumPy's; torch has none",
         example="'cbrt(x)' x=-8 -> x = 0.08333333")
composed("logaddexp(a, b)", formula="log(exp(a) + exp(b))",
         ref="""d = where(isinf(a) & (a == b), 0, b - a)
                where(d <= 0, a + log1p(exp(d)), b + log1p(exp(-d)))""",
         vjp={"a": "g * sigmoid(a - b)", "b": "g * sigmoid(b - a)"},
         example="'logaddexp(a, b)' a=0 b=1 -> a = 0.2689414; b = 0.7310586")
composed("logaddexp2(a, b)", formula="log2(2**a + 2**b)",
         ref="""d = where(isinf(a) & (a == b), 0, b - a)
                where(d <= 0, a + log1p(exp2(d)) / log(2), b + log1p(exp2(-d)) / log(2))""",
         vjp={"a": "g * sigmoid((a - b) * log(2))", "b": "g * sigmoid((b - a) * log(2))"},
         example="'logaddexp2(a, b)' a=0 b=1 -> a = 0.3333333; b = 0.6666667")
composed("xlogy(a, b)", formula="a * log(b)", ref="where((a == 0) & (b <= 0), 0, a * log(b))",
         domain={"b": "(0, inf)"}, kinks="(a == 0) & (b <= 0)", convention="0 where a is 0 and b <= 0",
         vjp={"a": "where((a == 0) & (b <= 0), 0, g * log(b))", "b": "g * a / b"},
         note="0 where a is 0, whatever b is",
         example="'xlogy(a, b)' a=2 b=4 -> a = 1.386294; b = 0.5")
composed("xlog1py(a, b)", formula="a * log1p(b)", torch="special.xlog1py",
         ref="where((a == 0) & (b <= -1), 0, a * log1p(b))", domain={"b": "(-1, inf)"},
         kinks="(a == 0) & (b <= -1)", convention="0 where a is 0 and b <= -1",
         vjp={"a": "where((a == 0) & (b <= -1), 0, g * log1p(b))", "b": "g * a / (1 + b)"},
         note="0 where a is 0, whatever b is",
         example="'xlog1py(a, b)' a=2 b=3 -> a = 1.386294; b = 0.5")
composed("logit(x, eps: number = None)", formula="log(x / (1 - x))", domain="(0, 1)",
         ref="""z = x if eps == None else where(x < eps, eps, where(x > 1 - eps, 1 - eps, x))
                log(z / (1 - z))""", kinks="x < x if eps == None else (x == eps) | (x == 1 - eps)",
         vjp={"x": "h = g / (x * (1 - x)); h if eps == None else where((x < eps) | (x > 1 - eps), 0, h)"},
         note="eps clamps x into [eps, 1 - eps] first",
         samples=("logit(x) | x(2,3)", "logit(x, eps=0.3) | x(5)", "logit(x) | x(0)"),
         example="'logit(x)' x=0.25 -> x = 5.333333")
composed("entr(x)", formula="-x * log(x)", torch="special.entr", domain="(0, inf)", kinks="x == 0",
         ref="where(x > 0, -x * log(x), where(x == 0, 0, where(x < 0, -inf, x)))",
         vjp={"x": "-g * (1 + log(x))"},
         example="'entr(x)' x=0.25 -> x = 0.3862944")
# s is multiplied with: numexpr's complex division would square m
composed("hypot(a, b)", formula="sqrt(a**2 + b**2)",
         ref="""m = detach(maximum(abs(a), abs(b)))
                m = where((m == 0) | isinf(m), 1, m)
                s = 1 / m
                m * sqrt((s * a) * (s * a) + (s * b) * (s * b))""",
         kinks="(a == 0) & (b == 0)",
         convention="NaN at (0, 0)", vjp={"a": "g * a / y", "b": "g * b / y"},
         example="'hypot(a, b)' a=3 b=4 -> a = 0.6; b = 0.8")

# ---- trigonometric, hyperbolic -----------------------------------------------------------------------------
family("Trigonometric and hyperbolic functions", source="NIST DLMF 4.20, 4.24, 4.34, 4.38")

elementwise("sin(x)", numexpr="=", complex="numexpr", vjp={"x": "g * cos(x)"},
            example="'sin(x)' x=1 -> x = 0.5403023")
elementwise("cos(x)", numexpr="=", complex="numexpr", vjp={"x": "-g * sin(x)"},
            example="'cos(x)' x=1 -> x = -0.841471")
elementwise("tan(x)", numexpr="=", complex="numpy", vjp={"x": "g * (1 + y**2)"}, domain="(-1.5, 1.5)",
            example="'tan(x)' x=1 -> x = 3.425519")
elementwise("asin(x)", aliases="arcsin", numpy="arcsin", numexpr="=", complex="numpy", domain="(-1, 1)",
            kinks="abs(x) == 1", convention="inf at -1 and 1", vjp={"x": "g / sqrt((1 - x) * (1 + x))"},
            example="'asin(x)' x=0.6 -> x = 1.25")
elementwise("acos(x)", aliases="arccos", numpy="arccos", numexpr="=", complex="numpy", domain="(-1, 1)",
            kinks="abs(x) == 1", convention="-inf at -1 and 1", vjp={"x": "-g / sqrt((1 - x) * (1 + x))"},
            example="'acos(x)' x=0.6 -> x = -1.25")
elementwise("atan(x)", aliases="arctan", numpy="arctan", numexpr="=", complex="numpy",
            vjp={"x": "g / (1 + x**2)"},
            example="'atan(x)' x=2 -> x = 0.2")
composed("atan2(a, b)", aliases="arctan2", kinks="(a == 0) & (b == 0)", convention="0 at (0, 0)",
         ref="""steep = abs(a) > abs(b)
                wide = atan(a / where(b == 0, inf, b)) + where(b < 0, where(signbit(a), -pi, pi), 0)
                where(steep, where(a < 0, -pi / 2, pi / 2) - atan(b / where(a == 0, 1, a)), wide)""",
         vjp={"a": "where((a == 0) & (b == 0), 0, g * b / (a**2 + b**2))",
              "b": "where((a == 0) & (b == 0), 0, -g * a / (a**2 + b**2))"},
         example="'atan2(a, b)' a=1 b=2 -> a = 0.4; b = -0.2")
elementwise("sinh(x)", numexpr="=", complex="numexpr", vjp={"x": "g * cosh(x)"},
            example="'sinh(x)' x=1 -> x = 1.543081")
elementwise("cosh(x)", numexpr="=", complex="numexpr", vjp={"x": "g * sinh(x)"},
            example="'cosh(x)' x=1 -> x = 1.175201")
elementwise("tanh(x)", numexpr="=", complex="numexpr", vjp={"x": "g * (1 - y**2)"},
            example="'tanh(x)' x=0.5 -> x = 0.7864477")
elementwise("asinh(x)", aliases="arcsinh", numpy="arcsinh", numexpr="=", complex="numpy",
            vjp={"x": "g / sqrt(1 + x**2)"},
            example="'asinh(x)' x=2 -> x = 0.4472136")
elementwise("acosh(x)", aliases="arccosh", numpy="arccosh", numexpr="=", complex="numpy", domain="(1, inf)",
            kinks="x == 1", convention="inf at 1", vjp={"x": "g / sqrt((x - 1) * (x + 1))"},
            example="'acosh(x)' x=2 -> x = 0.5773503")
elementwise("atanh(x)", aliases="arctanh", numpy="arctanh", numexpr="=", complex="numpy", domain="(-1, 1)",
            vjp={"x": "g / ((1 - x) * (1 + x))"},
            example="'atanh(x)' x=0.6 -> x = 1.5625")
composed("deg2rad(x)", aliases="radians", ref="x * (pi / 180)", vjp={"x": "g * (pi / 180)"},
         example="'deg2rad(x)' x=90 -> x = 0.01745329")
composed("rad2deg(x)", aliases="degrees", ref="x * (180 / pi)", vjp={"x": "g * (180 / pi)"},
         example="'rad2deg(x)' x=1 -> x = 57.29578")
composed("sinc(x)", formula="sin(πx) / (πx)",
         ref="""
             t = pi * x
             u = t * t
             series = 1 - u/6 * (1 - u/20 * (1 - u/42 * (1 - u/72 * (1 - u/110 * (1 - u/156 * (1 - u/210))))))
             where(abs(t) < 0.5, series, sin(t) / where(t == 0, 1, t))""",
         vjp={"x": "where(x == 0, 0, g * (cos(pi * x) - y) / where(x == 0, 1, x))"},
         example="'sinc(x)' x=0.5 -> x = -1.27324")

# ---- special functions -------------------------------------------------------------------------------------
family("Error functions", source="NIST DLMF 7.2, 7.10")

elementwise("erf(x)", numpy="scipy.erf", jax="scipy.special.erf", complex="numpy",
            vjp={"x": "g * 2 / sqrt(pi) * exp(-x**2)"},
            example="'erf(x)' x=0.5 -> x = 0.8787826")
elementwise("erfc(x)", numpy="scipy.erfc", jax="scipy.special.erfc", complex="numpy",
            vjp={"x": "-g * 2 / sqrt(pi) * exp(-x**2)"},
            example="'erfc(x)' x=0.5 -> x = -0.8787826")
elementwise("erfcx(x)", torch="special.erfcx", numpy="scipy.erfcx", complex="numpy",
            formula="exp(x²) erfc(x)", vjp={"x": "g * (2 * x * y - 2 / sqrt(pi))"},
            example="'erfcx(x)' x=0.5 -> x = -0.5126888")
elementwise("erfinv(x)", numpy="scipy.erfinv", jax="scipy.special.erfinv", domain="(-1, 1)",
            kinks="abs(x) == 1", vjp={"x": "g * sqrt(pi) / 2 * exp(y**2)"},
            example="'erfinv(x)' x=0.5 -> x = 1.112585")
composed("ndtr(x)", torch="special.ndtr", ref="erfc(-x / sqrt(2)) / 2",
         vjp={"x": "g * exp(-x**2 / 2) / sqrt(2 * pi)"}, note="the normal distribution function",
         example="'ndtr(x)' x=0.5 -> x = 0.3520653")
elementwise("ndtri(x)", torch="special.ndtri", numpy="scipy.ndtri", jax="scipy.special.ndtri",
            domain="(0, 1)", vjp={"x": "g * sqrt(2 * pi) * exp(y**2 / 2)"}, note="the inverse of ndtr",
            example="'ndtri(x)' x=0.7 -> x = 2.876104")
composed("log_ndtr(x)", torch="special.log_ndtr",
         ref="where(x < 1, log(erfcx(-x / sqrt(2)) / 2) - x * x / 2, log1p(-erfc(x / sqrt(2)) / 2))",
         vjp={"x": "g * exp(-x**2 / 2 - y) / sqrt(2 * pi)"},
         note="log(ndtr(x)), where ndtr(x) itself would be 0 too",
         example="'log_ndtr(x)' x=-20 -> x = 20.04975")

family("Gamma functions", source="NIST DLMF 5.2, 5.5, 5.15, 8.8, 25.11")

elementwise("loggamma(x)", hidden=True, torch="lgamma", numpy="scipy.loggamma", jax="scipy.special.gammaln",
            complex="numpy", domain="(0, inf)", vjp={"x": "g * digamma(x)"}, note="lgamma for x > 0")
composed("lgamma(x)", aliases="gammaln", formula="log|Γ(x)|", kinks="(x <= 0) & (x == round(x))",
         ref="where(x < 0.5, log(pi / abs(sin(pi * (x - round(x))))) - loggamma(1 - x), loggamma(x))",
         vjp={"x": "g * digamma(x)"}, note="poles at 0, -1, -2, …",
         example="'lgamma(x)' x=2.5 -> x = 0.7031566")
elementwise("digamma(x)", aliases="psi", numpy="scipy.psi", jax="scipy.special.digamma", complex="numpy",
            kinks="(x <= 0) & (x == round(x))", vjp={"x": "g * polygamma(1, x)"}, formula="d/dx log Γ(x)",
            accuracy=1e-9,
            note="poles at 0, -1, -2, …; torch's trigamma, the derivative, is exact to 10 digits",
            example="'digamma(x)' x=2.5 -> x = 0.4903578")
elementwise("polygamma(n: int, x)", numpy="kernels.polygamma(n, x)", torch="polygamma(n, x)", complex="numpy",
            jax="scipy.special.polygamma(n, x)", formula="the n-th derivative of digamma", accuracy=1e-9,
            domain="(0, inf)", vjp={"x": "g * polygamma(n + 1, x)"},
            note="torch's trigamma (n = 1) is exact to 10 digits",
            samples=("polygamma(0, x) | x(2,3)", "polygamma(1, x) | x(3)", "polygamma(3, x) | x(1)",
                     "polygamma(2, x) | x(0)"),
            example="'polygamma(1, x)' x=2 -> x = -0.4041138")
composed("polygamma(x, n: int)", torch="polygamma(n, x)", ref="polygamma(n, x)", domain="(0, inf)",
         vjp={"x": "g * polygamma(n + 1, x)"}, accuracy=1e-9,
         samples="x.polygamma(2) | x(2,3)",
         example="'x.polygamma(1)' x=2 -> x = -0.4041138")
composed("multigammaln(x, p: int)", aliases="mvlgamma", torch="mvlgamma(x, p)", domain="(3, inf)",
         ref="""y = p * (p - 1) / 4 * log(pi)
                for j in range(p):
                    y = y + lgamma(x - j / 2)
                y""",
         vjp={"x": """s = 0 * x
                      for j in range(p):
                          s = s + digamma(x - j / 2)
                      g * s"""},
         note="x > (p - 1) / 2",
         samples=("multigammaln(x, 3) | x(2,3)", "multigammaln(x, 1) | x(0)"),
         example="'multigammaln(x, 2)' x=3 -> x = 1.625941")
for _name, _sign, _alias in [("gammainc", "", "igamma"), ("gammaincc", "-", "igammac")]:
    elementwise(f"{_name}(a: constant, x)", aliases=_alias, torch=f"special.{_name}", numpy=f"scipy.{_name}",
                jax=f"scipy.special.{_name}", domain={"a": "(0.5, 4)", "x": "(0, inf)"},
                vjp={"x": f"{_sign}g * exp(xlogy(a - 1, x) - x - lgamma(a))"},
                note="no gradient with respect to a: torch has none",
                example=f"'{_name}(2, x)' x=1 -> x = {_sign}0.3678794")
elementwise("zeta(s: constant, q|other)", torch="special.zeta", numpy="kernels.zeta", complex="numpy",
            jax="scipy.special.zeta", domain={"s": "(1.5, 5)", "q": "(0, inf)"}, formula="Σ (q + k)⁻ˢ",
            vjp={"q": "-g * s * zeta(s + 1, q)"},
            note="Hurwitz's zeta; no gradient with respect to s: torch has none",
            example="'zeta(3, q)' q=2 -> q = -0.2469697")

family("Bessel functions", source="NIST DLMF 10.25, 10.29")

elementwise("i0(x)", numpy="kernels.i0", jax="scipy.special.i0", complex="numpy", vjp={"x": "g * i1(x)"},
            example="'i0(x)' x=2 -> x = 1.590637")
elementwise("i1(x)", torch="special.i1", numpy="kernels.i1", jax="scipy.special.i1", complex="numpy",
            vjp={"x": "g * (i0(x) - where(x == 0, 0.5, y / where(x == 0, 1, x)))"},
            example="'i1(x)' x=2 -> x = 1.484267")
elementwise("i0e(x)", torch="special.i0e", numpy="kernels.i0e", jax="scipy.special.i0e", complex="numpy",
            kinks="x == 0", convention="0 at 0", formula="exp(-|x|) I₀(x)",
            vjp={"x": "g * (i1e(x) - sign(x) * y)"},
            example="'i0e(x)' x=2 -> x = -0.09323903")
elementwise("i1e(x)", torch="special.i1e", numpy="kernels.i1e", jax="scipy.special.i1e", complex="numpy",
            formula="exp(-|x|) I₁(x)",
            vjp={"x": "g * where(x == 0, 0.5, i0e(x) - y * (sign(x) + 1 / where(x == 0, 1, x)))"},
            example="'i1e(x)' x=2 -> x = -0.01439561")
