"""Activation functions, with torch's parameters.

In scope in every text: the parameters by name; in ``vjp`` also g (the cotangent) and y (the output).
"""

from vjpcalc.operators.registry import composed, family

# fmt: off

family("Activations", source="torch/nn/functional.py; derivatives by hand")

composed("sigmoid(x)", aliases="expit logistic", formula="1 / (1 + exp(-x))", vjp={"x": "g * y * (1 - y)"},
         ref="where(x < 0, exp(x) / (1 + exp(x)), 1 / (1 + exp(-x)))",
         example="'sigmoid(x)' x=0.5 -> x = 0.2350037")
composed("logsigmoid(x)", aliases="log_sigmoid", torch="nn.functional.logsigmoid",
         formula="-log(1 + exp(-x))", ref="where(x < 0, x - log1p(exp(x)), -log1p(exp(-x)))",
         vjp={"x": "g * sigmoid(-x)"},
         example="'logsigmoid(x)' x=0.5 -> x = 0.3775407")
composed("softplus(x, beta: number = 1, threshold: number = 20)", torch="nn.functional.softplus",
         formula="log(1 + exp(βx)) / β",
         ref="""z = beta * x
                soft = where(z >= 0, z + log1p(exp(-z)), log1p(exp(z))) / beta
                where(z > threshold, x, soft)""", kinks="beta * x == threshold",
         vjp={"x": "g * where(beta * x > threshold, 1, sigmoid(beta * x))"},
         note="x itself where βx > threshold, as torch has it",
         samples=("softplus(x) | x(2,3)", "softplus(x, 2) | x(4)",
                  "softplus(x, beta=0.5, threshold=1) | x(5)", "softplus(x) | x(0)", "softplus(x) | x(1)"),
         example="'softplus(x)' x=0.5 -> x = 0.6224593")
composed("relu(x)", ref="where(x <= 0, 0, x)", kinks="x == 0", convention="0 at 0",
         vjp={"x": "where(x > 0, g, 0)"},
         example="'relu(x)' x='[-1, 0, 2]' --seed '[1, 1, 1]' -> x = [0, 0, 1]")
composed("relu6(x)", torch="nn.functional.relu6", ref="where(x <= 0, 0, where(x >= 6, 6, x))",
         kinks="(x == 0) | (x == 6)", convention="0 at 0 and at 6",
         vjp={"x": "where((x > 0) & (x < 6), g, 0)"},
         example="'relu6(x)' x='[-1, 2, 7]' --seed '[1, 1, 1]' -> x = [0, 1, 0]")
composed("leaky_relu(x, negative_slope: number = 0.01)", torch="nn.functional.leaky_relu",
         ref="where(x > 0, x, negative_slope * x)", kinks="x == 0", convention="negative_slope at 0",
         vjp={"x": "g * where(x > 0, 1, negative_slope)"},
         samples=("leaky_relu(x) | x(2,3)", "leaky_relu(x, 0.2) | x(4)", "leaky_relu(x) | x(0)"),
         example="'leaky_relu(x, 0.1)' x='[-1, 2]' --seed '[1, 1]' -> x = [0.1, 1]")
composed("rrelu(x, lower: number = 0.125, upper: number = 0.3333333333333333)", torch="nn.functional.rrelu",
         ref="where(x > 0, x, (lower + upper) / 2 * x)", kinks="x == 0", convention="the slope at 0",
         vjp={"x": "g * where(x > 0, 1, (lower + upper) / 2)"}, note="as in evaluation mode: no random slope",
         samples=("rrelu(x) | x(2,3)", "rrelu(x, 0.1, 0.3) | x(4)"),
         example="'rrelu(x, 0.1, 0.3)' x='[-1, 2]' --seed '[1, 1]' -> x = [0.2, 1]")
composed("prelu(x, weight)", torch="nn.functional.prelu",
         ref="""w = weight
                for i in range(x.ndim - 2):
                    w = w[..., None]
                where(x > 0, x, w * x)""", size="x.shape", kinks="x == 0", convention="the weight at 0",
         vjp={"x": """w = weight
                      for i in range(x.ndim - 2):
                          w = w[..., None]
                      g * where(x > 0, 1, w)""",
              "weight": """t = where(x > 0, 0, g * x)
                           if numel(weight) == 1 or x.ndim < 2:
                               t = sum(t)
                           else:
                               t = sum(t, 0)
                               while t.ndim > 1:
                                   t = sum(t, -1)
                           t"""}, note="a weight for all, or one for each channel (dimension 1)",
         samples=("prelu(x, w) | x(2,3) w(3)", "prelu(x, w) | x(2,3,2) w(3)", "prelu(x, w) | x(4) w(1)"),
         example="'prelu(x, w)' x='[-1, 2]' w='[0.25]' --seed '[1, 1]' -> x = [0.25, 1]; w = [-1]")
composed("elu(x, alpha: number = 1)", torch="nn.functional.elu", ref="where(x > 0, x, alpha * expm1(x))",
         kinks="(x == 0) & (alpha != 1)", convention="alpha at 0",
         vjp={"x": "g * where(x > 0, 1, alpha * exp(x))"},
         samples=("elu(x) | x(2,3)", "elu(x, alpha=0.5) | x(4)", "elu(x) | x(0)"),
         example="'elu(x)' x=-1 -> x = 0.3678794")
composed("celu(x, alpha: number = 1)", torch="celu", ref="where(x > 0, x, alpha * expm1(x / alpha))",
         vjp={"x": "g * where(x > 0, 1, exp(x / alpha))"},
         samples=("celu(x) | x(2,3)", "celu(x, alpha=0.5) | x(4)", "celu(x) | x(0)"),
         example="'celu(x, 2)' x=-1 -> x = 0.6065307")
composed("selu(x)", kinks="x == 0", convention="the slope from the left at 0",
         ref="1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * expm1(x))",
         vjp={"x": "g * 1.0507009873554805 * where(x > 0, 1, 1.6732632423543772 * exp(x))"},
         example="'selu(x)' x=-1 -> x = 0.6467686")
composed("gelu(x, approximate: text = 'none')", torch="nn.functional.gelu", formula="x · ndtr(x)",
         ref="""exact = x * erfc(-x / sqrt(2)) / 2
                u = sqrt(2 / pi) * (x + 0.044715 * (x * x * x))
                exact if approximate == 'none' else x * (1 + tanh(u)) / 2""",
         vjp={"x": """if approximate == 'none':
                          d = ndtr(x) + x * exp(-x**2 / 2) / sqrt(2 * pi)
                      else:
                          s = sigmoid(sqrt(8 / pi) * (x + 0.044715 * x**3))
                          d = s + x * s * (1 - s) * sqrt(8 / pi) * (1 + 3 * 0.044715 * x**2)
                      g * d"""},
         note="approximate is 'none' or 'tanh'; 1 + tanh cancels in the left tail, in torch as here",
         samples=("gelu(x) | x(2,3)", "gelu(x, approximate='tanh') | x(4)", "gelu(x) | x(0)",
                  "gelu(x) | x(1)"),
         example="'gelu(x)' x=0.5 -> x = 0.8674951")
composed("silu(x)", aliases="swish", torch="nn.functional.silu", formula="x · sigmoid(x)",
         ref="x * sigmoid(x)", vjp={"x": "s = sigmoid(x); g * s * (1 + x * (1 - s))"},
         example="'silu(x)' x=0.5 -> x = 0.7399612")
composed("mish(x)", torch="nn.functional.mish", formula="x · tanh(softplus(x))",
         ref="x * tanh(where(x >= 0, x + log1p(exp(-x)), log1p(exp(x))))",
         vjp={"x": "t = tanh(softplus(x)); g * (t + x * (1 - t**2) * sigmoid(x))"},
         example="'mish(x)' x=0.5 -> x = 0.8864244")
composed("softsign(x)", torch="nn.functional.softsign", formula="x / (1 + |x|)", ref="x / (1 + abs(x))",
         vjp={"x": "g / (1 + abs(x))**2"},
         example="'softsign(x)' x=-1 -> x = 0.25")
composed("tanhshrink(x)", torch="nn.functional.tanhshrink", ref="x - tanh(x)", vjp={"x": "g * tanh(x)**2"},
         example="'tanhshrink(x)' x=1 -> x = 0.5800257")
composed("softshrink(x, lambd: number = 0.5)", torch="nn.functional.softshrink",
         ref="where(abs(x) <= lambd, 0, where(x > 0, x - lambd, x + lambd))", kinks="abs(x) == lambd",
         convention="0 at ±lambd", vjp={"x": "where(abs(x) <= lambd, 0, g)"},
         samples=("softshrink(x) | x(2,3)", "softshrink(x, 0.2) | x(4)", "softshrink(x) | x(0)"),
         example="'softshrink(x)' x='[-2, 0.1, 2]' --seed '[1, 1, 1]' -> x = [1, 0, 1]")
composed("hardshrink(x, lambd: number = 0.5)", torch="nn.functional.hardshrink",
         ref="where(abs(x) <= lambd, 0, x)", kinks="abs(x) == lambd", convention="0 at ±lambd",
         vjp={"x": "where(abs(x) <= lambd, 0, g)"},
         samples=("hardshrink(x) | x(2,3)", "hardshrink(x, 0.2) | x(4)", "hardshrink(x) | x(0)"),
         example="'hardshrink(x)' x='[-2, 0.1, 2]' --seed '[1, 1, 1]' -> x = [1, 0, 1]")
composed("hardtanh(x, min_val: number = -1, max_val: number = 1)", torch="nn.functional.hardtanh",
         ref="where(x <= min_val, min_val, where(x >= max_val, max_val, x))",
         kinks="(x == min_val) | (x == max_val)", convention="0 at the bounds",
         vjp={"x": "where((x > min_val) & (x < max_val), g, 0)"},
         samples=("hardtanh(x) | x(2,3)", "hardtanh(x, -0.5, 2) | x(4)", "hardtanh(x) | x(0)"),
         example="'hardtanh(x)' x='[-2, 0.5, 2]' --seed '[1, 1, 1]' -> x = [0, 1, 0]")
composed("hardsigmoid(x)", torch="nn.functional.hardsigmoid",
         ref="where(x <= -3, 0, where(x >= 3, 1, x / 6 + 0.5))", kinks="abs(x) == 3", convention="0 at ±3",
         vjp={"x": "where(abs(x) < 3, g / 6, 0)"}, accuracy=3e-8,
         note="torch's float64 backward multiplies by float32's 1/6",
         example="'hardsigmoid(x)' x=0.5 -> x = 0.1666667")
composed("hardswish(x)", torch="nn.functional.hardswish",
         ref="where(x <= -3, 0, where(x >= 3, x, x * (x + 3) / 6))", kinks="abs(x) == 3",
         convention="0 at -3, 1 at 3", vjp={"x": "g * where(x <= -3, 0, where(x >= 3, 1, x / 3 + 0.5))"},
         example="'hardswish(x)' x=0.5 -> x = 0.6666667")
composed("threshold(x, threshold: number, value: number)", torch="nn.functional.threshold",
         ref="where(x <= threshold, value, x)", kinks="x == threshold", convention="0 at the threshold",
         vjp={"x": "where(x > threshold, g, 0)"},
         samples=("threshold(x, 0.1, 20) | x(2,3)", "threshold(x, 0, -1) | x(0)"),
         example="'threshold(x, 0.1, 20)' x='[-1, 2]' --seed '[1, 1]' -> x = [0, 1]")
composed("glu(x, dim: axis = -1)", torch="nn.functional.glu",
         formula="a · sigmoid(b) for the halves a, b of x",
         ref="n = x.shape[dim] // 2; narrow(x, dim, 0, n) * sigmoid(narrow(x, dim, n, n))",
         vjp={"x": """n = x.shape[dim] // 2
                      a = narrow(x, dim, 0, n)
                      s = sigmoid(narrow(x, dim, n, n))
                      cat([g * s, g * a * s * (1 - s)], dim)"""},
         samples=("glu(x) | x(2,4)", "glu(x, dim=0) | x(4,3)", "glu(x, dim=-2) | x(2,3)"),
         example="'glu(x)' x='[1, 2]' --seed '[1]' -> x = [0.8807971, 0.1049936]")
