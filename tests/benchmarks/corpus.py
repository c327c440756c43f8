"""The corpus of ``verdict.py``, as data: functions, their inputs, and the errors that are planted in them.

A function is a text that means the same in the language, in torch and, for what is badly scaled, in mpmath at
DIGITS decimals. ``inputs`` says what is drawn for each of its inputs (DRAW). ``backward`` makes it a user's
own function: a program that sees the inputs, the output ``y`` and the cotangent ``g``, and gives ``dx`` for
an input ``x``. ``mistakes`` are what people get wrong in that program: a name, and a text put in place of
another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Mistakes = dict[str, tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Function:
    family: str
    expression: str
    inputs: str
    backward: str = ""
    mistakes: Mistakes = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [statement.partition("=")[0].strip() for statement in self.inputs.split(";")]


def family(name: str, *rows: tuple) -> list[Function]:
    return [Function(name, *row) for row in rows]


# ---- well scaled: values of size 0.3 to 1.5, both signs, away from kinks --------------------------------

X, P, V = "x = near(2, 3)", "x = positive(2, 3)", "x = near(4)"
A = "a = near(3, 3) + 3 * eye(3)"

ELEMENTWISE = family(
    "elementwise",
    ("exp(x)", X, "dx = g * y", {"of x, not of y": ("y", "x")}),
    ("log(x)", P, "dx = g / x"),
    ("tanh(x)", X, "dx = g * (1 - y * y)", {"not squared": ("y * y", "y"), "of x": ("y * y", "x * x")}),
    ("sigmoid(x)", X, "dx = g * y * (1 - y)", {"dropped factor": (" * (1 - y)", "")}),
    (
        "F.gelu(x)", X,
        "dx = g * (0.5 * (1 + erf(x / 2**0.5)) + x * exp(-x**2 / 2) / 6.283185307179586**0.5)",
        {"dropped term": (" + x * exp(-x**2 / 2) / 6.283185307179586**0.5", "")},
    ),
    ("F.softplus(x)", X, "dx = g * sigmoid(x)", {"tanh for sigmoid": ("sigmoid", "tanh")}),
    ("F.silu(x)", X, "s = sigmoid(x); dx = g * (s + y * (1 - s))", {"dropped term": (" + y * (1 - s)", "")}),
    ("sin(x)", X, "dx = g * cos(x)"),
    ("cos(x)", X, "dx = -g * sin(x)", {"sign": ("-g", "g")}),
    ("x**3", X, "dx = 3 * g * x**2", {"exponent": ("x**2", "x**3"), "factor": ("3 * ", "")}),
    ("x**2.5", P, "dx = 2.5 * g * x**1.5"),
    ("x**-2", X, "dx = -2 * g * y / x"),
    ("sqrt(x)", P, "dx = g / (2 * y)"),
    ("rsqrt(x)", P, "dx = -0.5 * g * y / x"),
    (
        "x / (1 + x**2)", X, "d = 1 + x**2; dx = g / d - 2 * g * x**2 / d**2",
        {"dropped term": (" - 2 * g * x**2 / d**2", "")},
    ),
    ("(x**3 - 2 * x) / (x**2 + 3)", X),
    ("atan(x)", X, "dx = g / (1 + x**2)"),
    ("x * w", f"{X}; w = near(3)", "dx = g * w; dw = (g * x).sum(0)",
     {"mean for a sum": (".sum(0)", ".mean(0)"), "missing sum": (".sum(0)", "[0]")}),
    ("x / w", f"{X}; w = near(3)", "dx = g / w; dw = -(g * y / w).sum(0)",
     {"missing sum": (".sum(0)", "[1]"), "sign": ("-(", "(")}),
    ("x + w", f"{X}; w = near(2, 1)", "dx = g; dw = g.sum(1, keepdim=True)",
     {"mean for a sum": ("sum", "mean")}),
    ("x**w", f"{P}; w = near(3)", "dx = g * w * y / x; dw = (g * y * log(x)).sum(0)",
     {"missing sum": (".sum(0)", "[0]")}),
    ("atan2(x, w)", f"{X}; w = near(2, 3)", "d = x**2 + w**2; dx = g * w / d; dw = -g * x / d",
     {"sign": ("-g", "g")}),
    ("hypot(x, w)", f"{X}; w = near(2, 3)", "dx = g * x / y; dw = g * w / y"),
    ("logaddexp(x, w)", f"{X}; w = near(2, 3)", "dx = g * exp(x - y); dw = g * exp(w - y)"),
    ("exp(-x**2 / 2) * sin(3 * x)", X),
    ("log1p(exp(x)) - x / 2", X),
    ("expm1(x) + erf(x)", X),
    ("lgamma(x)", P),
    ("F.mish(x)", X),
    ("asin(x / 2) * acos(x / 3)", X),
    ("tanh(x * tensor(0.3))", X, "dx = g * (1 - y * y) * 0.3", {"dropped factor": (" * 0.3", "")}),
)  # fmt: skip

REDUCTIONS = family(
    "reductions",
    ("sum(x)", X, "dx = g * ones_like(x)", {"mean for a sum": ("g *", "g / 6 *")}),
    ("sum(x**2, 1)", X, "dx = 2 * g[:, None] * x", {"factor": ("2 * ", "")}),
    ("mean(x)", X, "dx = g * ones_like(x) / 6", {"sum for a mean": (" / 6", "")}),
    ("mean(exp(x), 0)", X, "dx = g * exp(x) / 2", {"sum for a mean": (" / 2", "")}),
    ("norm(x)", X, "dx = g * x / y", {"squared": ("/ y", "/ y**2")}),
    ("norm(x, dim=1)", X, "dx = g[:, None] * x / y[:, None]"),
    ("var(x)", X, "dx = g * 2 * (x - x.mean()) / 5",
     {"correction": ("/ 5", "/ 6"), "uncentred": (" - x.mean()", "")}),
    ("std(x, dim=1)", X, "dx = (g / y)[:, None] * (x - x.mean(1, keepdim=True)) / 2",
     {"correction": (") / 2", ") / 3")}),
    ("logsumexp(x, 1)", X, "dx = g[:, None] * softmax(x, 1)",
     {"dimension": ("softmax(x, 1)", "softmax(x, 0)")}),
    ("softmax(x, 1)", X, "dx = y * (g - (g * y).sum(1, keepdim=True))",
     {"dropped term": (" - (g * y).sum(1, keepdim=True)", ""), "mean for a sum": ("sum(", "mean("),
      "dimension": ("sum(1", "sum(0")}),
    ("log_softmax(x, 1)", X, "dx = g - exp(y) * g.sum(1, keepdim=True)",
     {"dropped term": (" - exp(y) * g.sum(1, keepdim=True)", ""),
      "missing sum": ("g.sum(1, keepdim=True)", "g")}),
    ("prod(x)", X, "dx = g * y / x"),
    ("prod(x, 1)", X, "dx = (g * y)[:, None] / x"),
    ("cumsum(x, 1)", X, "dx = flip(cumsum(flip(g, (1,)), 1), (1,))",
     {"not reversed": ("flip(cumsum(flip(g, (1,)), 1), (1,))", "cumsum(g, 1)")}),
    ("cumprod(x, 0)", V),
    ("(x - mean(x)) / std(x)", X),
    ("sum(tanh(x), 0)", X, "dx = g * (1 - tanh(x)**2)"),
    ("logcumsumexp(x, 0)", V),
)  # fmt: skip

LINALG = family(
    "linear algebra",
    ("a @ b", "a = near(3, 3); b = near(3, 3)", "da = g @ b.T; db = a.T @ g",
     {"transposed": ("g @ b.T", "(g @ b.T).T"), "not transposed": ("b.T", "b"),
      "swapped": ("a.T @ g", "g @ a.T")}),
    ("a @ x", "a = near(3, 4); x = near(4)", "da = outer(g, x); dx = a.T @ g"),
    ("x @ w", "x = near(4, 5); w = near(5, 3)", "dx = g @ w.T; dw = x.T @ g"),
    ("solve(a, x)", f"{A}; x = near(3)", "dx = solve(a.T, g); da = -outer(dx, y)",
     {"transposed": ("outer(dx, y)", "outer(y, dx)"), "not transposed": ("solve(a.T, g)", "solve(a, g)")}),
    ("inv(a)", A, "da = -y.T @ g @ y.T",
     {"not transposed": ("-y.T @ g @ y.T", "-y @ g @ y"), "sign": ("-y.T", "y.T"),
      "transposed": ("-y.T @ g @ y.T", "-y @ g.T @ y")}),
    ("det(a)", A, "da = g * y * inv(a).T", {"transposed": (".T", ""), "dropped factor": (" * y", "")}),
    ("logdet(a @ a.T)", A, "da = 2 * g * inv(a).T", {"transposed": (".T", ""), "factor": ("2 * ", "")}),
    ("trace(a @ a)", A, "da = 2 * g * a.T", {"transposed": (".T", ""), "factor": ("2 * ", "")}),
    ("x @ (a @ x)", f"{A}; x = near(3)", "dx = g * (a + a.T) @ x; da = g * outer(x, x)",
     {"dropped term": (" + a.T", ""), "symmetric": ("(a + a.T)", "(2 * a)")}),
    ("outer(x, w)", "x = near(3); w = near(4)", "dx = g @ w; dw = x @ g"),
    ("dot(x, w)", "x = near(5); w = near(5)", "dx = g * w; dw = g * x"),
    ("cholesky(a @ a.T + eye(3))", A),
    ("matrix_exp(a / 4)", A),
    ("kron(a, x)", "a = near(2, 2); x = near(2, 2)"),
    ("pinv(a)", "a = near(3, 2) + 2 * eye(3, 2)"),
    ("einsum('ij,jk,k->i', a, b, x)", "a = near(2, 3); b = near(3, 4); x = near(4)"),
)  # fmt: skip

NETWORKS = family(
    "networks",
    ("mean((tanh(x @ w + b) - t)**2)",
     "x = near(4, 3); w = near(3, 2); b = near(2); t = near(4, 2)",
     "h = tanh(x @ w + b); e = 2 * g * (h - t) / 8; d = e * (1 - h * h); dx = d @ w.T; dw = x.T @ d;"
     " db = d.sum(0); dt = -e",
     {"mean for a sum": ("d.sum(0)", "d.mean(0)"), "missing sum": ("d.sum(0)", "d[0]"),
      "dropped factor": ("e * (1 - h * h)", "e"), "sum for a mean": (" / 8", "")}),
    ("tanh(x @ w + b)", "x = near(4, 3); w = near(3, 2); b = near(2)",
     "d = g * (1 - y * y); dx = d @ w.T; dw = x.T @ d; db = d.sum(0)",
     {"mean for a sum": ("d.sum(0)", "d.mean(0)"), "missing sum": ("d.sum(0)", "d[-1]")}),
    ("F.layer_norm(x, (4,), w, b)", "x = near(3, 4); w = near(4); b = near(4)",
     "m = x.mean(1, keepdim=True); s = sqrt(((x - m)**2).mean(1, keepdim=True) + 1e-5); n = (x - m) / s;"
     " d = g * w; dx = (d - d.mean(1, keepdim=True) - n * (d * n).mean(1, keepdim=True)) / s;"
     " dw = (g * n).sum(0); db = g.sum(0)",
     {"dropped term": (" - n * (d * n).mean(1, keepdim=True)", ""),
      "missing sum": ("db = g.sum(0)", "db = g[0]"),
      "sum for a mean": ("(d * n).mean", "(d * n).sum"),
      "dropped mean": ("d - d.mean(1, keepdim=True)", "d")}),
    ("softmax(q @ k.T / 2, 1) @ v", "q = near(3, 4); k = near(5, 4); v = near(5, 2)",
     "p = softmax(q @ k.T / 2, 1); dp = g @ v.T; s = p * (dp - (dp * p).sum(1, keepdim=True)) / 2;"
     " dq = s @ k; dk = s.T @ q; dv = p.T @ g",
     {"dropped term": (" - (dp * p).sum(1, keepdim=True)", ""), "dropped scale": (") / 2;", ");")}),
    ("F.cross_entropy(x, k)", "x = near(3, 4); k = classes(3, 4)",
     "dx = g * (softmax(x, 1) - F.one_hot(k, 4)) / 3",
     {"sum for a mean": (" / 3", ""), "dropped term": (" - F.one_hot(k, 4)", "")}),
    ("F.mse_loss(x, t)", "x = near(2, 3); t = near(2, 3)", "dx = g * (x - t) / 3; dt = -dx",
     {"factor": ("/ 3", "/ 6"), "sign": ("-dx", "dx")}),
    ("F.binary_cross_entropy(x, t)", "x = unit(2, 3); t = unit(2, 3)"),
    ("F.linear(x, w, b)", "x = near(4, 3); w = near(2, 3); b = near(2)",
     "dx = g @ w; dw = g.T @ x; db = g.sum(0)", {"missing sum": ("g.sum(0)", "g[0]")}),
    ("F.scaled_dot_product_attention(q, k, v)",
     "q = near(1, 3, 4); k = near(1, 3, 4); v = near(1, 3, 4)"),
    ("F.conv1d(x, w)", "x = near(1, 2, 6); w = near(3, 2, 3)"),
    ("F.conv1d(x, ones(3, 2, 3) / 3)", "x = near(1, 2, 6)",
     "dx = F.conv_transpose1d(g, ones(3, 2, 3) / 3)", {"dropped factor": (" / 3)", ")")}),
    ("F.normalize(x, dim=1)", X),
    ("sum(sigmoid(tanh(x @ w) @ v)**2)", "x = near(4, 3); w = near(3, 5); v = near(5, 1)"),
    ("tanh(x) * exp(-x**2)", "x = near(10, 10)"),
)  # fmt: skip

# Compositions made at random: a unary of an inner expression, two of them joined, a reduction behind it all.
UNARY = ["tanh({})", "sigmoid({})", "sin({})", "exp(-{}**2)", "F.softplus({})", "atan({})", "sqrt(1 + {}**2)",
         "{0} / (1 + {0}**2)", "log(2 + cos({}))", "erf({})", "F.silu({})", "cos({})",
         "exp({} / 2)"]  # fmt: skip
BINARY = ["({} + {})", "({} * {})", "({} - 2 * {})", "{} / (3 + {}**2)"]
LEAVES = ["x", "x", "w", "x * w", "x @ a"]
LAST = [
    "{}",
    "sum({})",
    "mean({}, 0)",
    "softmax({}, -1)",
    "logsumexp({}, -1)",
    "norm({})",
    "cumsum({}, -1)",
    "{} @ a",
]
COMPOSED = "x = near(2, 3); w = near(3); a = near(3, 3)"

WELL = [*ELEMENTWISE, *REDUCTIONS, *LINALG, *NETWORKS]

# ---- badly scaled ------------------------------------------------------------------------------------------
# Each a function, and inputs that saturate it, cancel in it, or are far from 1.

SATURATED = [
    ("tanh(x)", "8 9.5 11 14 18 -12"),
    ("sigmoid(x)", "-30 30 20 -20 36 5"),
    ("log(1 - tanh(x))", "8 10 12"),
    ("log(1 - tanh(x))", "15 17 18"),
    ("log1p(-tanh(x))", "8 10 12"),
    ("exp(-x**2 / 2)", "6 -6 7 0.1 12 20"),
    ("log(1 - sigmoid(x))", "10 20 30"),
    ("log(sigmoid(x))", "-30 30 12 -300"),
    ("F.logsigmoid(x)", "-30 30 12 -300"),
    ("F.softplus(x)", "-30 19 12 -200"),
    ("F.gelu(x)", "-6 -5 -8 6 -12"),
    ("F.silu(x)", "-30 30 -200 12"),
    ("erf(x)", "3 4 5 -5.5"),
    ("erfc(x)", "3 6 10 20"),
    ("1 - erf(x)", "3 4 5"),
    ("tanh(x)**2", "9 12 15"),
    ("1 - tanh(x)**2", "5 8 9"),
    ("1 / cosh(x)", "20 -30 100"),
    ("exp(x) / (1 + exp(x))", "20 30 -30"),
    ("1 / (1 + exp(-x))", "20 30 -30 -300"),
    ("sqrt(1 - tanh(x)**2)", "6 8 9"),
    ("atan(x)", "1e8 -1e5 1e-8 1e12"),
    ("x / sqrt(1 + x**2)", "1e3 1e5 -1e4"),
    ("exp(-exp(x))", "3 -30 2"),
    ("F.mish(x)", "-20 20 -50"),
    ("sigmoid(x) * (1 - sigmoid(x))", "20 -20 30"),
    ("tanh(tanh(x) * 20)", "0.5 1 3"),
]
FAR = [
    ("x**3", "1e-12 1e12 -1e6 1e-6"),
    ("x**2", "1e-12 1e12 1e-100 1e100"),
    ("1 / x", "1e-12 1e12 -1e6"),
    ("log(x)", "1e-12 1e12 1e-300"),
    ("sqrt(x)", "1e-12 1e12 1e-200"),
    ("x**0.3", "1e-12 1e12 1e-3"),
    ("exp(x)", "1e-12 500 -500"),
    ("exp(x * 1e-6)", "1e6 -1e7 1e8"),
    ("sin(x)", "1e6 1e-12 1e4"),
    ("cos(x)", "1e5 1e-12 1e3"),
    ("sin(x)", "1e12 1e9 1e8"),
    ("tanh(x)", "1e-12 -1e-9 1e-15"),
    ("x / (1 + x**2)", "1e-12 1e6 1e12"),
    ("log1p(x)", "1e-12 1e12 1e-16"),
    ("expm1(x)", "1e-12 1e-16 -40"),
    ("asinh(x)", "1e-12 1e12 1e8"),
    ("x * exp(-x)", "1e-12 300 50"),
    ("log(x + sqrt(1 + x**2))", "1e6 1e8 1e-8"),
    ("(x + 1)**2", "1e8 -1e12 1e-12"),
    ("x * 1e-30", "1e12 1e-12 1"),
    ("x**2 * 1e150", "1e-12 1e-80 1"),
    ("x + 1", "1e-300 1e-308 2.3e-308"),
    ("lgamma(x)", "1e-8 1e5 1e10"),
    ("sum(x**2)", "1e-8 1e8 1 -1e4"),
    ("norm(x)", "1e-8 1e8 1 -1e4"),
    ("norm(x)", "1e-12 1e-10 -3e-11"),
    ("sum(exp(x))", "1e-8 20 1 -40"),
    ("prod(x)", "1e-8 1e8 3 -1e4"),
    ("mean(x**3)", "1e-4 1e4 3"),
]
CANCELLING = [
    ("(exp(x) - 1) / x", "1e-9 1e-7"),
    ("(exp(x) - 1) / x", "1e-3 1e-2"),
    ("(1 - cos(x)) / x**2", "1e-3 1e-2"),
    ("(1 - cos(x)) / x**2", "1e-8 1e-7"),
    ("x - sin(x)", "1e-3 1e-2 1e-4"),
    ("x - sin(x)", "1e-8 1e-9"),
    ("sqrt(x + 1) - sqrt(x)", "1e6 1e4"),
    ("sqrt(x + 1) - sqrt(x)", "1e10 1e12"),
    ("log(1 + x)", "1e-10 1e-12"),
    ("log(1 + x)", "1e-15 1e-16"),
    ("exp(x) - exp(-x)", "1e-6 1e-10"),
    ("(x + 1e6) - 1e6", "1 0.3"),
    ("(x + 1e6)**2 - x**2", "1 0.3"),
    ("1 / x - 1 / (x + 1)", "1e5 1e6"),
    ("tanh(x) - x", "1e-4 1e-3"),
    ("tanh(x) / x", "1e-6 1e-4"),
    ("sin(x) / x", "1e-6 1e-5 1e-3"),
    ("3 * (x / x)", "0.45 0.7"),
    ("tanh(x / x)", "0.45 0.7"),
    ("exp(x)**2 - exp(2 * x)", "0.3 0.7"),
    ("x * (1 + 1e-9) - x", "0.3 7"),
    ("log(exp(x))", "0.3 30 -30"),
    ("logsumexp(x, 0)", "700 710 -700"),
    ("logsumexp(x, 0)", "1e-9 0 -1e-9"),
    ("softmax(x, 0)", "0 20 -20"),
    ("softmax(x, 0)", "0 40 -40"),
    ("log_softmax(x, 0)", "0 20 -20 50"),
    ("log_softmax(x, 0)", "0 200 -300"),
    ("var(x)", "1e4 10000.5 10001.5"),
    ("var(x)", "1e8 1e8 100000001"),
    ("std(x)", "1e6 1000001 1000003"),
    ("sum(x) - x", "1e8 1 2"),
    ("cumsum(x, 0)", "1e10 1 -1e10 1e-5"),
    ("softmax(x * 100, 0)", "0.1 0.2 0.3"),
    ("sum(x**3) - sum(x)**3", "1 1e-6 1e-7"),
]
NEAR_SINGULAR = [
    ("det(a)", "1 2, 2 4.000001"),
    ("det(a)", "1 2, 2 4"),
    ("det(a)", "1e6 1, 1 1e-6"),
    ("inv(a)", "1 2, 2 4.000001"),
    ("inv(a)", "1 2, 2 4.0000000001"),
    ("inv(a)", "1e6 1, 1 1e-3"),
    ("inv(a)", "1e-8 0, 0 1e8"),
    ("logdet(a)", "1 2, 2 4.000001"),
    ("logdet(a)", "1e8 1, 1 1e-4"),
    ("det(a)", "1 0.5 0.333333, 0.5 0.333333 0.25, 0.333333 0.25 0.2"),
    ("inv(a)", "1 0.5 0.333333, 0.5 0.333333 0.25, 0.333333 0.25 0.2"),
    ("inv(a) @ a", "1 0.5 0.333333, 0.5 0.333333 0.25, 0.333333 0.25 0.2"),
    ("a @ a - a", "1 1e-9, 1e-9 1"),
    ("a @ a.T", "1e8 1e-8, 3 -1e4"),
]
NARROW = [  # a slope that steps relative to |x| do not see
    ("exp(-((x - 0.5) * 1000)**2 / 2)", "0.5003 0.4991 0.501"),
    ("exp(-((x - 3) * 1000)**2 / 2) + x", "3.0004 2.999"),
    ("sin(6433.981 * x) + x", "0.5 1 0.3"),
    ("tanh((x - 1) * 1e5)", "1.000003 0.99999"),
    ("sin(1e3 * x)", "0.7 1.1"),
]
BADLY = [
    *(("saturated", *row) for row in SATURATED),
    *(("far from 1", *row) for row in FAR),
    *(("cancelling", *row) for row in CANCELLING),
    *(("near singular", *row) for row in NEAR_SINGULAR),
    *(("narrow", *row) for row in NARROW),
]

# A user's own: a right backward that is stable where its forward's inputs are large.
BADLY_OWN = {
    "tanh(x)": "dx = g / cosh(x)**2",
    "sigmoid(x)": "dx = g * sigmoid(x) * sigmoid(-x)",
    "exp(-x**2 / 2)": "dx = -g * x * y",
    "F.softplus(x)": "dx = g * sigmoid(x)",
    "F.logsigmoid(x)": "dx = g * sigmoid(-x)",
    "F.silu(x)": "s = sigmoid(x); dx = g * (s + x * s * sigmoid(-x))",
    "erf(x)": "dx = g * 2 / 3.141592653589793**0.5 * exp(-x * x)",
    "erfc(x)": "dx = -g * 2 / 3.141592653589793**0.5 * exp(-x * x)",
    "1 / cosh(x)": "dx = -g * tanh(x) / cosh(x)",
    "1 / (1 + exp(-x))": "dx = g * sigmoid(x) * sigmoid(-x)",
    "atan(x)": "dx = g / (1 + x**2)",
    "x**3": "dx = 3 * g * x**2",
    "x**2": "dx = 2 * g * x",
    "1 / x": "dx = -g / x / x",
    "log(x)": "dx = g / x",
    "sqrt(x)": "dx = g / (2 * y)",
    "exp(x)": "dx = g * y",
    "exp(x * 1e-6)": "dx = g * y * 1e-6",
    "sin(x)": "dx = g * cos(x)",
    "cos(x)": "dx = -g * sin(x)",
    "x / (1 + x**2)": "dx = g * (1 - x) * (1 + x) / (1 + x**2)**2",
    "log1p(x)": "dx = g / (1 + x)",
    "expm1(x)": "dx = g * exp(x)",
    "(x + 1)**2": "dx = 2 * g * (x + 1)",
    "sum(x**2)": "dx = 2 * g * x",
    "norm(x)": "dx = g * x / y",
    "sum(exp(x))": "dx = g * exp(x)",
    "prod(x)": "dx = g * y / x",
    "softmax(x, 0)": "dx = y * (g - (g * y).sum())",
    "logsumexp(x, 0)": "dx = g * softmax(x, 0)",
    "var(x)": "dx = g * 2 * (x - x.mean()) / (x.numel() - 1)",
    "det(a)": "b = inv(a); da = g * y * b.T",
    "inv(a)": "da = -y.T @ g @ y.T",
    "logdet(a)": "da = g * inv(a).T",
    "a @ a.T": "da = (g + g.T) @ a",
    "exp(-((x - 0.5) * 1000)**2 / 2)": "dx = -1e6 * g * (x - 0.5) * y",
    "exp(-((x - 3) * 1000)**2 / 2) + x": "dx = g - 1e6 * g * (x - 3) * exp(-((x - 3) * 1000)**2 / 2)",
    "sin(6433.981 * x) + x": "dx = g * (1 + 6433.981 * cos(6433.981 * x))",
    "tanh((x - 1) * 1e5)": "dx = 1e5 * g / cosh((x - 1) * 1e5)**2",
    "sin(1e3 * x)": "dx = 1e3 * g * cos(1e3 * x)",
}
BADLY_WRONG = {
    "exp(-((x - 0.5) * 1000)**2 / 2)": {"slope forgotten": "dx = 0 * g"},
    "exp(-((x - 3) * 1000)**2 / 2) + x": {"slope forgotten": "dx = g"},
    "sin(6433.981 * x) + x": {"slope forgotten": "dx = g"},
    "tanh((x - 1) * 1e5)": {"slope forgotten": "dx = 0 * g"},
}

# A user's own function whose forward is rounded to float32 inside, and its right backward: 3 digits are left.
ROUNDED = [
    ("tanh(x.float()).to(x.dtype)", X, "dx = g * (1 - tanh(x)**2)"),
    ("sum(exp(x.float())).to(x.dtype)", X, "dx = g * exp(x)"),
    ("(x.float() @ w.float()).to(x.dtype)", "x = near(3, 4); w = near(4, 2)", "dx = g @ w.T; dw = x.T @ g"),
    (
        "softmax(x.float(), 1).to(x.dtype)",
        X,
        "y = softmax(x, 1); dx = y * (g - (g * y).sum(1, keepdim=True))",
    ),
    ("sin(x).float().to(x.dtype)", X, "dx = g * cos(x)"),
    ("log(x.float()).to(x.dtype)", P, "dx = g / x"),
]

# The slope is finite, and torch's gradient is not: one way is left, to call it failed.
NOT_FINITE = [
    ("where(x < 1, x, sqrt(x))", "0 0.5 2"),
    ("where(abs(x) < 1, 2 * x, 1 / x)", "0 0.5 2"),
    ("where(x > 30, x, log(1 + exp(x)))", "800 1 -3"),
    ("where(x > -1, x**2, sqrt(-x))", "0 2 -4"),
    ("tanh(exp(x))", "1000 0.5"),
    ("exp(-exp(x))", "800 0.5"),
    ("1 / (1 + exp(-x))", "-800 0.5"),
]

# ---- at kinks ----------------------------------------------------------------------------------------------
# Then backward programs that no choice at the kink excuses: wrong elsewhere, or outside of both slopes.

AT_KINKS = [
    ("relu(x)", "0 0.5 -2 1.25", "dx = g * (x > 0)",
     {"10 at 0": "dx = g * ((x > 0) + 10 * (x == 0))", "-1 at 0": "dx = g * (1.0 * (x > 0) - 1.0 * (x == 0))",
      "10 times": "dx = 10 * g * (x > 0)", "1.01 elsewhere": "dx = 1.01 * g * (x > 0)",
      "2 at 0": "dx = g * ((x > 0) + 2 * (x == 0))", "sign": "dx = -g * (x > 0)",
      "1 below 0": "dx = g * (x != 0)", "zero": "dx = 0 * g"}),
    ("abs(x)", "0 0.5 -2 0", "dx = g * sign(x)",
     {"2 at 0": "dx = g * (sign(x) + 2 * (x == 0))", "-3 at 0": "dx = g * (sign(x) - 3 * (x == 0))",
      "no sign": "dx = g * (x != 0)", "1e-4 elsewhere": "dx = 1.0001 * g * sign(x)"}),
    ("F.leaky_relu(x, 0.1)", "0 0.5 -2 0", "dx = g * where(x > 0, 1.0, 0.1)",
     {"2 at 0": "dx = g * where(x == 0, 2.0, where(x > 0, 1.0, 0.1))",
      "0 at 0": "dx = g * where(x == 0, 0.0, where(x > 0, 1.0, 0.1))",
      "0.2 below": "dx = g * where(x > 0, 1.0, 0.2)"}),
    ("clamp(x, 0, 1)", "0 0.5 1 2 -1", "dx = g * ((x >= 0) & (x <= 1))",
     {"2 at the edges": "dx = g * (1.0 * (x > 0) * (x < 1) + 2 * (x == 0) + 2 * (x == 1))",
      "everywhere": "dx = g + 0 * x", "2 inside": "dx = 2 * g * ((x > 0) & (x < 1))"}),
    ("maximum(x, w)", "x = 0.5 -1 2; w = 0.5 0 1", "dx = g * (1.0 * (x > w) + 0.5 * (x == w)); dw = g - dx",
     {"2 at the tie": "dx = g * (1.0 * (x > w) + 2 * (x == w)); dw = g * (x < w)",
      "of the other": "dw = g * (1.0 * (x > w) + 0.5 * (x == w)); dx = g - dw"}),
    ("F.hardtanh(x)", "1 -1 0.3 4", "dx = g * ((x > -1) & (x < 1))",
     {"-1 at the edges": "dx = g * (1.0 * (x > -1) * (x < 1) - 1.0 * (abs(x) == 1))",
      "1.01 inside": "dx = 1.01 * g * ((x > -1) & (x < 1))"}),
    ("max(x)", "2 2 0.5 -1", "dx = g * (x == x.max()) / (x == x.max()).sum()",
     {"0.5 elsewhere": "dx = g * (x == x.max()) / 2 + 0.5 * g * (x == 0.5)",
      "2 at the tie": "dx = 2.0 * g * (x == x.max())", "sign": "dx = -g * (x == x.max()) / 2"}),
    ("sum(relu(x)) + sum(x**3)", "0 0.5 -2 1.25 0", "dx = g * ((x > 0) + 3 * x**2)",
     {"exponent": "dx = g * ((x > 0) + 3 * x**3)", "3 at 0": "dx = g * ((x > 0) + 3 * x**2 + 3 * (x == 0))",
      "1e-6 elsewhere": "dx = g * ((x > 0) + 3 * x**2 * (1 + 1e-6))"}),
    ("sum(relu(x) * w)", "x = 0 0.5 -2 1.25; w = 3 0.5 -2 1", "dx = g * w * (x > 0); dw = g * relu(x)",
     {"10 times": "dx = 10 * g * w * (x > 0); dw = g * relu(x)", "no w": "dx = g * (x > 0); dw = g * relu(x)",
      "no dw": "dx = g * w * (x > 0)"}),
    ("sum(F.silu(x)) + sum(relu(x))", "0 0.5 2",
     "s = sigmoid(x); dx = g * (s + x * s * (1 - s) + (x > 0))",
     {"dropped term": "dx = g * (sigmoid(x) + (x > 0))"}),
]  # fmt: skip
KINKED = [  # of the language: errors are planted in elements that are not at the kink
    ("relu(x)", "0 0.5 -2 1.25"),
    ("sum(abs(x))", "0 0.5 -2 1.25"),
    ("abs(x) * exp(x)", "0 0.5 -2 1.25"),
    ("F.leaky_relu(x, 0.1)", "0 0.5 -2 0"),
    ("clamp(x, 0, 1) * x", "0 0.5 1 2 -1"),
    ("max(x) + sum(x**2)", "2 2 0.5 -1"),
    ("sum(relu(x)) + sum(sin(x))", "0 0.5 -2 1.25 0"),
    ("F.hardtanh(x) + tanh(x)", "1 -1 0.3 4"),
    ("sum(relu(x @ w))", "x = 0 0 0, 0.5 2 -1; w = 1 0.5, -1 2, 0.25 -3"),
    ("tanh(relu(x) @ w)", "x = 0 0.5 -1, 0 2 0.75; w = 1 0.5, -1 2, 0.25 -3"),
    ("F.relu6(x) * x", "6 0 1 2 7"),
    ("sum(sqrt(abs(x) + 1))", "0 0 3 -2"),
    ("F.huber_loss(x, zeros(4)) * 3", "1 -1 0.5 2"),
    ("minimum(x, x**2)", "0.5 1 2 3"),
    ("F.l1_loss(x, ones(4))", "1 0.5 2 1"),
    ("relu(x) - relu(-x)", "0 0.5 -2 1"),
]
