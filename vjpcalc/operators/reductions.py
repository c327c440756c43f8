"""Operators that reduce or scan along dimensions.

In scope in every text: the parameters by name; in ``vjp`` also g (the cotangent) and y (the output).
``restore(g, x, dim, keepdim)`` puts the dimensions that a reduction of x took away back into g, as 1.
"""

from vjpcalc.operators.registry import array, composed, family, movement, several

# fmt: off

_TIE = "sum(x == {0}(x, dim, True), dim, True) > 1"  # more than one element is the extremum
_CHOSEN = "scatter(0 * x, dim, {0}(x, dim, True), restore(g, x, dim, keepdim))"  # g to the one element chosen
_SHARED = """chosen = x == restore(y, x, dim, keepdim)
             restore(g, x, dim, keepdim) * where(chosen, 1, 0) / sum(chosen, dim, True)"""
_ALONG = ("{0}(x) | x(2,3)", "{0}(x, dim=1) | x(2,3)", "{0}(x, 0, True) | x(2,3)",
          "{0}(x, (0, -1)) | x(2,3,2)", "{0}(x) | x()", "{0}(x, dim=-1) | x(0,2)")
_SCANS = ("{0}(x, 0) | x(4)", "{0}(x, dim=-1) | x(2,3)", "{0}(x, 0) | x(3,2)",
          "{0}(x, 1) | x(2,0)", "{0}(x, 0) | x(1)")

def _samples(texts: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(text.format(name) for text in texts)

# ---- sums and products -------------------------------------------------------------------------------------
family("Reductions", source="torch derivatives.yaml")

array("sum(x, dim: axes = None, keepdim: flag = False)", torch="sum(x, dim, keepdim)",
      numpy="kernels.total(x, dim, keepdim)", jax="sum(x, axis=dim, keepdims=keepdim)", complex="numpy",
      mixes="dim",
      vjp={"x": "restore(g, x, dim, keepdim)"}, samples=_samples(_ALONG, "sum"),
      example="'sum(x, dim=0)' x='[[1, 2], [3, 4]]' --seed '[1, 10]' -> x = [[1, 10], [1, 10]]")
movement("restore(g, x, dim: any, keepdim: flag)", numpy="kernels.restore(g, x, dim, keepdim)", torch="",
         hidden=True, note="g with the dimensions that a reduction of x took away put back as 1")
composed("mean(x, dim: axes = None, keepdim: flag = False)", torch="mean(x, dim, keepdim)",
         ref="s = sum(x, dim, keepdim); s / (numel(x) / max(numel(s), 1))",
         vjp={"x": "restore(g, x, dim, keepdim) / (numel(x) / max(numel(g), 1))"},
         samples=_samples(_ALONG[:5], "mean"),
         example="'mean(x)' x='[1, 2, 3, 4]' -> x = [0.25, 0.25, 0.25, 0.25]")
array("prod(x)", torch="prod(x)", numpy="prod(x)",
      complex="numpy", vjp={"x": "g * prod_of_others(x, None)"},
      samples=("prod(x) | x(2,3)", "prod(x) | x()", "prod(x) | x(0)", "prod(x * [0, 1, 1]) | x(3)"),
      example="'prod(x)' x='[0, 2, 3]' -> x = [6, 0, 0]")
array("prod(x, dim: axis, keepdim: flag = False)", torch="prod(x, dim, keepdim)",
      numpy="prod(x, axis=dim, keepdims=keepdim)", complex="numpy", mixes="dim",
      vjp={"x": "restore(g, x, dim, keepdim) * prod_of_others(x, dim)"},
      samples=("prod(x, dim=1) | x(2,3)", "prod(x, -2, True) | x(2,3)", "prod(x * [0, 1, 0], 1) | x(2,3)",
               "prod(x, 0) | x(0,2)"),
      example="'prod(x, dim=0)' x='[[1, 2], [3, 4]]' --seed '[1, 10]' -> x = [[3, 40], [1, 20]]")
array("prod_of_others(x, dim: axes)", torch="", numpy="kernels.prod_of_others(x, dim)", hidden=True,
      note="for each element the product of all others along dim: prod's derivative, zeros or not")
composed("nansum(x, dim: axes = None, keepdim: flag = False)", torch="nansum(x, dim, keepdim)",
         ref="sum(where(isnan(x), 0, x), dim, keepdim)",
         vjp={"x": "where(isnan(x), 0, restore(g, x, dim, keepdim))"},
         samples=_samples(_ALONG, "nansum"),
         example="'nansum(x)' x='[1, nan, 3]' -> x = [1, 0, 1]")
composed("nanmean(x, dim: axes = None, keepdim: flag = False)", torch="nanmean(x, dim, keepdim)",
         ref="sum(where(isnan(x), 0, x), dim, keepdim) / sum(where(isnan(x), 0, 1), dim, keepdim)",
         vjp={"x": "where(isnan(x), 0, restore(g, x, dim, keepdim) / sum(where(isnan(x), 0, 1), dim, True))"},
         samples=_samples(_ALONG[:5], "nanmean"),
         example="'nanmean(x)' x='[1, nan, 3]' -> x = [0.5, 0, 0.5]")

# ---- moments -----------------------------------------------------------------------------------------------
family("Statistics", source="torch derivatives.yaml")

_SPREAD = ("{0}(x) | x(2,3)", "{0}(x, 1) | x(2,3)", "{0}(x, dim=-1, correction=0, keepdim=True) | x(2,3)",
           "{0}(x, (0, 2)) | x(2,3,2)", "{0}(x, 0, unbiased=False) | x(4)")
composed("var(x, dim: axes = None, correction|unbiased: number = 1, keepdim: flag = False)",
         torch="var(x, dim, correction=correction, keepdim=keepdim)",
         ref="""m = mean(x, dim, True)
                sum((x - m) * (x - m), dim, keepdim) / max(numel(x) / max(numel(m), 1) - correction, 0)""",
         vjp={"x": """
             m = mean(x, dim, True)
             2 * restore(g, x, dim, keepdim) * (x - m) / max(numel(x) / max(numel(m), 1) - correction, 0)"""},
         note="divides by n - correction; NumPy's default correction (ddof) is 0, torch's is 1",
         samples=_samples(_SPREAD, "var"),
         example="'var(x)' x='[1, 2, 4]' -> x = [-1.333333, -0.3333333, 1.666667]")
composed("var(x, unbiased: flag)", torch="var(x, unbiased)", ref="var(x, None, 1 if unbiased else 0)",
         vjp={"x": "2 * g * (x - mean(x)) / (numel(x) - (1 if unbiased else 0))"},
         samples="var(x, False) | x(2,3)",
         example="'var(x, False)' x='[1, 2, 4]' -> x = [-0.8888889, -0.2222222, 1.111111]")
composed("std(x, dim: axes = None, correction|unbiased: number = 1, keepdim: flag = False)",
         torch="std(x, dim, correction=correction, keepdim=keepdim)",
         ref="sqrt(var(x, dim, correction, keepdim))", kinks="var(x, dim, correction) == 0",
         convention="0 where all elements are equal",
         vjp={"x": """m = mean(x, dim, True)
                      s = restore(y, x, dim, keepdim)
                      n = max(numel(x) / max(numel(m), 1) - correction, 0)
                      where(s == 0, 0, restore(g, x, dim, keepdim) * (x - m) / (s * n))"""},
         note="NumPy's default correction (ddof) is 0, torch's is 1",
         samples=_samples(_SPREAD, "std"),
         example="'std(x)' x='[1, 2, 4]' -> x = [-0.4364358, -0.1091089, 0.5455447]")
composed("std(x, unbiased: flag)", torch="std(x, unbiased)", ref="sqrt(var(x, unbiased))",
         kinks="var(x, unbiased) == 0", convention="0 where all elements are equal",
         vjp={"x": "where(y == 0, 0, g * (x - mean(x)) / (y * (numel(x) - (1 if unbiased else 0))))"},
         samples="std(x, False) | x(2,3)",
         example="'std(x, False)' x='[1, 2, 4]' -> x = [-0.3563483, -0.08908708, 0.4454354]")
several("var_mean(x, dim: axes = None, correction|unbiased: number = 1, keepdim: flag = False)",
        fields={"var": "var(x, dim, correction, keepdim)", "mean": "mean(x, dim, keepdim)"},
        samples=("var_mean(x)[0] | x(2,3)", "var_mean(x, 1)[1] | x(2,3)"),
        example="'var_mean(x)[0]' x='[1, 2, 4]' -> x = [-1.333333, -0.3333333, 1.666667]")
several("std_mean(x, dim: axes = None, correction|unbiased: number = 1, keepdim: flag = False)",
        fields={"std": "std(x, dim, correction, keepdim)", "mean": "mean(x, dim, keepdim)"},
        kinks="var(x, dim, correction) == 0", convention="0 where all elements are equal",
        samples=("std_mean(x)[0] | x(2,3)", "std_mean(x, 1)[1] | x(2,3)"),
        example="'std_mean(x)[0]' x='[1, 2, 4]' -> x = [-0.4364358, -0.1091089, 0.5455447]")

# ---- extrema -----------------------------------------------------------------------------------------------
family("Extrema", source="torch derivatives.yaml")

for _name, _example in [("amax", "[[0, 0, 1], [10, 0, 0]]"), ("amin", "[[1, 0, 0], [0, 0, 10]]")]:
    array(f"{_name}(x, dim: axes = None, keepdim: flag = False)", torch=f"{_name}(x, dim, keepdim)",
          numpy=f"kernels.{_name}(x, dim, keepdim)", jax=f"{_name[1:]}(x, axis=dim, keepdims=keepdim)",
          complex="numpy", mixes="one of dim", kinks=_TIE.format(_name),
          convention="g shared evenly among ties",
          vjp={"x": _SHARED}, samples=_samples(_ALONG[:5], _name),
          example=f"'{_name}(x, dim=1)' x='[[1, 2, 3], [6, 5, 4]]' --seed '[1, 10]' -> x = {_example}")
for _name, _whole, _sign, _a, _b in [("max", "amax", ">", 0, 1), ("min", "amin", "<", 1, 0)]:
    array(f"{_name}(x)", torch=f"{_name}(x)", numpy=f"kernels.{_whole}(x)", complex="numpy",
          mixes="one of x",
          jax=f"{_name}(x, axis=None, keepdims=False)", kinks=f"sum(x == {_whole}(x)) > 1",
          convention="g shared evenly among ties", vjp={"x": "where(x == y, g, 0) / sum(x == y)"},
          samples=(f"{_name}(x) | x(2,3)", f"x.{_name}() | x(1)", f"{_name}(x) | x()"),
          example=f"'{_name}(x)' x='[1, 3, 2]' -> x = [{_a}, {_b}, 0]")
    several(f"{_name}(x, dim: axis, keepdim: flag = False)", kinks=_TIE.format(_whole),
            fields={"values": f"{_name}_values(x, dim, keepdim)", "indices": f"arg{_name}(x, dim, keepdim)"},
            convention="all of g to one element among ties",
            samples=(f"{_name}(x, 1).values | x(2,3)", f"{_name}(x, dim=-2, keepdim=True)[0] | x(2,3)",
                     f"{_name}(x, 0)[0] | x()"),
            example=f"'{_name}(x, dim=1).values' x='[[1, 2], [4, 3]]' --seed '[1, 1]' "
                    f"-> x = [[{_a}, {_b}], [{_b}, {_a}]]")
    array(f"{_name}_values(x, dim: axis, keepdim: flag)", torch=f"{_name}(x, dim, keepdim).values",
          hidden=True, numpy=f"kernels.{_whole}(x, dim, keepdim)", complex="numpy", mixes="one of dim",
          jax=f"{_name}(x, axis=dim, keepdims=keepdim)", vjp={"x": _CHOSEN.format("arg" + _name)})
    composed(f"{_name}(a, b)", torch=f"{_name}imum", ref=f"{_name}imum(a, b)", kinks="a == b",
             convention="half of g to each of two equal elements",
             vjp={"a": f"g * where(a {_sign} b, 1, where(a == b, 0.5, 0))",
                  "b": f"g * where(b {_sign} a, 1, where(a == b, 0.5, 0))"},
             samples=f"{_name}(a, b) | a(2,3) b(3)",
             example=f"'{_name}(a, b)' a='[1, 4]' b='[2, 3]' --seed '[1, 1]' -> a = [{_a}, {_b}]; "
                     f"b = [{_b}, {_a}]")
    array(f"arg{_name}(x, dim: axis = None, keepdim: flag = False)", torch=f"arg{_name}(x, dim, keepdim)",
          frozen=True, numpy=f"arg{_name}(x, axis=dim, keepdims=keepdim)", complex="constant",
          note="whole numbers: no gradient flows through",
          samples=(f"arg{_name}(x) | x(2,3)", f"arg{_name}(x, 1, True) | x(2,3)"),
          example=f"'x[arg{_name}(x)]' x='[1, 3, 2]' -> x = [{_a}, {_b}, 0]")
several("aminmax(x, dim: axis = None, keepdim: flag = False)",
        kinks=f"({_TIE.format('amin')}) | ({_TIE.format('amax')})",
        fields={"min": "amin(x, dim, keepdim)", "max": "amax(x, dim, keepdim)"},
        convention="g shared evenly among ties",
        samples=("aminmax(x).max | x(2,3)", "aminmax(x, dim=1)[0] | x(2,3)"),
        example="'aminmax(x).min' x='[3, 1, 2]' -> x = [0, 1, 0]")
for _name in ["median", "nanmedian"]:
    array(f"{_name}(x)", torch=f"{_name}(x)", numpy=f"kernels.{_name}(x)", complex="numpy",
          mixes="one of x",
          kinks=f"sum(x == {_name}(x)) > 1", convention="g shared evenly among ties",
          vjp={"x": "where(x == y, g, 0) / sum(x == y)"},
          note="the lower one of two, as in torch; NumPy takes their mean",
          samples=(f"{_name}(x) | x(2,3)", f"{_name}(x) | x(5)", f"{_name}(x) | x()"),
          example=f"'{_name}(x)' x='[4, 1, 3, 2]' -> x = [0, 0, 0, 1]")
    several(f"{_name}(x, dim: axis, keepdim: flag = False)",
            kinks=f"sum(x == {_name}_values(x, dim, True), dim, True) > 1",
            fields={"values": f"{_name}_values(x, dim, keepdim)",
                    "indices": f"{_name}_indices(x, dim, keepdim)"},
            note="the lower one of two, as in torch; NumPy takes their mean; g goes to any one of equal "
                 "elements",
            samples=(f"{_name}(x, 1).values | x(2,3)", f"{_name}(x, dim=-2, keepdim=True)[0] | x(4,3)"),
            example=f"'{_name}(x, 1).values' x='[[1, 3, 2], [6, 4, 5]]' --seed '[1, 10]' "
                    "-> x = [[0, 0, 1], [0, 0, 10]]")
    array(f"{_name}_values(x, dim: axis, keepdim: flag)", torch=f"{_name}(x, dim, keepdim).values",
          hidden=True, numpy=f"kernels.{_name}(x, dim, keepdim)", complex="numpy", mixes="one of dim",
          vjp={"x": _CHOSEN.format(_name + "_indices")})
    array(f"{_name}_indices(x, dim: axis, keepdim: flag)", torch=f"{_name}(x, dim, keepdim).indices",
          hidden=True, frozen=True, numpy=f"kernels.{_name}_indices(x, dim, keepdim)", complex="constant")
array("quantile(x, q: number, dim: axis = None, keepdim: flag = False, "
      "interpolation|method: text = 'linear')",
      torch="quantile(x, q, dim, keepdim, interpolation=interpolation)", complex="numpy", mixes="dim",
      numpy="kernels.quantile(x, q, dim, keepdim, interpolation)",
      kinks="""t = sort(flatten(x), 0).values if dim == None else sort(x, dim).values
               diff(t, dim=0 if dim == None else dim) == 0""",
      vjp={"x": '"g to the two order statistics next to q (n - 1), weighted as they are interpolated'},
      note="interpolation is 'linear', 'lower', 'higher', 'nearest' or 'midpoint'",
      samples=("quantile(x, 0.3) | x(2,3)", "quantile(x, 0.6, dim=1) | x(2,4)",
               "quantile(x, 0.5, -2, True) | x(4,3)", "quantile(x, 0.4, interpolation='lower') | x(5)",
               "quantile(x, 0.4, interpolation='midpoint') | x(4)"),
      example="'quantile(x, 0.4)' x='[1, 4, 2]' -> x = [0.2, 0, 0.8]")

# ---- masks -------------------------------------------------------------------------------------------------
family("Tests and counts")

for _name, _numpy in [("any", "kernels.any_(x, dim, keepdim)"), ("all", "kernels.all_(x, dim, keepdim)")]:
    array(f"{_name}(x, dim: axes = None, keepdim: flag = False)", torch=f"{_name}(x, dim, keepdim)",
          numpy=_numpy, jax=f"{_name}(x, axis=dim, keepdims=keepdim)", complex="constant", frozen=True,
          samples=(f"{_name}(x > 0) | x(2,3)", f"{_name}(x > 0, 1, True) | x(2,3)"),
          example=f"'where({_name}(x > 0), x, 0)' x='[1, 3]' --seed '[1, 1]' -> x = [1, 1]")
array("count_nonzero(x, dim: axes = None)", torch="count_nonzero(x, dim)", numpy="count_nonzero(x, axis=dim)",
      complex="constant", frozen=True,
      samples=("count_nonzero(x > 0) | x(2,3)", "count_nonzero(x, 1) | x(2,3)"),
      example="'sum(x) / count_nonzero(x)' x='[1, 0, 3]' -> x = [0.5, 0.5, 0.5]")

# ---- norms and distances -----------------------------------------------------------------------------------
family("Norms and distances", source="torch FunctionsManual.cpp (linalg_vector_norm_backward)")

_NORM_KINKS = """if {p} == inf or {p} == -inf:
                     m = amax(abs(x), dim, True) if {p} == inf else amin(abs(x), dim, True)
                     k = (sum(abs(x) == m, dim, True) > 1) | (m == 0)
                 elif {p} == 2:
                     k = sum(x * x, dim, True) == 0
                 elif {p} <= 1:
                     k = x == 0
                 else:
                     k = sum(abs(x), dim, True) == 0
                 k"""
_NORM_RULE = """n = restore(y, x, dim, keepdim)
                d = {sign}restore(g, x, dim, keepdim)
                if {p} == inf or {p} == -inf:
                    chosen = abs(x) == n
                    d = d * sign(x) * where(chosen, 1, 0) / sum(chosen, dim, True)
                elif {p} == 0:
                    d = 0 * x
                elif {p} == 2:
                    d = where(n == 0, 0, d * x / n)
                else:
                    d = where((n == 0) | (x == 0), 0, d * sign(x) * (abs(x) / n)**({p} - 1))
                d"""
composed("vector_norm(x, ord: number = 2, dim: axes = None, keepdim: flag = False)",
         torch="linalg.vector_norm(x, ord, dim, keepdim)", formula="(Σ|x|ᵖ)^(1/p)",
         ref="""if ord == inf:
                    n = amax(abs(x), dim, keepdim)
                elif ord == -inf:
                    n = amin(abs(x), dim, keepdim)
                elif ord == 0:
                    n = sum(where(x == 0, 0, 1), dim, keepdim)
                elif ord == 1:
                    n = sum(abs(x), dim, keepdim)
                elif ord == 2:
                    n = sqrt(sum(x * x, dim, keepdim))
                else:
                    n = sum(abs(x)**ord, dim, keepdim)**(1 / ord)
                n""", kinks=_NORM_KINKS.format(p="ord"),
         convention="0 where the norm is 0; for inf, g shared evenly among ties",
         vjp={"x": _NORM_RULE.format(p="ord", sign="")},
         samples=("vector_norm(x) | x(2,3)", "vector_norm(x, 1, dim=1) | x(2,3)",
                  "vector_norm(x, inf) | x(2,3)", "vector_norm(x, -inf, 0, True) | x(2,3)",
                  "vector_norm(x, 3, (0, 2)) | x(2,3,2)", "vector_norm(x, 0) | x(4)",
                  "vector_norm(x, 1.5, -1) | x(2,3)", "vector_norm(x, 0.5) | x(3)", "vector_norm(x) | x(0)"),
         example="'vector_norm(x, 3)' x='[1, 2]' -> x = [0.2311204, 0.9244817]")
composed("norm(x, p: any = 2, dim: axes = None, keepdim: flag = False)", torch="norm(x, p, dim, keepdim)",
         ref="vector_norm(x, 2 if p == 'fro' else p, dim, keepdim)",
         kinks=("p = 2 if p == 'fro' else p", _NORM_KINKS.format(p="p")),
         convention="0 where the norm is 0; for inf, g shared evenly among ties",
         vjp={"x": ("p = 2 if p == 'fro' else p", _NORM_RULE.format(p="p", sign=""))},
         note="the elements as one vector, whatever the shape; linalg.norm(x, ord), so written, takes a "
              "matrix as such",
         samples=("norm(x) | x(2,3)", "x.norm() | x(3)", "x.norm(p=1) | x(2,3)",
                  "norm(x, 'fro', dim=(0, 1)) | x(2,3)", "norm(x, 2, 1, True) | x(2,3)",
                  "norm(x, inf, 0) | x(2,3)", "norm(x, p=3) | x(4)"),
         example="'norm(x)' x='[3, 4]' -> x = [0.6, 0.8]")
composed("dist(a, b, p: number = 2)", torch="dist(a, b, p)", formula="‖a - b‖ₚ", ref="vector_norm(a - b, p)",
         kinks=("x = a - b; dim = None", _NORM_KINKS.format(p="p")), convention="0 where the distance is 0",
         vjp={"a": ("x = a - b; dim = None; keepdim = False", _NORM_RULE.format(p="p", sign="")),
              "b": ("x = a - b; dim = None; keepdim = False", _NORM_RULE.format(p="p", sign="-"))},
         samples=("dist(a, b) | a(2,3) b(2,3)", "dist(a, b, 1) | a(2,3) b(3)",
                  "dist(a, b, 3) | a(4) b(4)", "dist(a, b, inf) | a(4) b(4)"),
         example="'dist(a, b)' a='[3, 4]' b='[0, 0]' -> a = [0.6, 0.8]; b = [-0.6, -0.8]")
composed("normalize(x, p: number = 2, dim: axis = 1, eps: number = 1e-12)", torch="nn.functional.normalize",
         ref="x / clamp_min(vector_norm(x, p, (dim,), True), eps)", kinks="vector_norm(x, p, (dim,)) == 0",
         convention="g / eps at 0",
         vjp={"x": """n = vector_norm(x, p, (dim,), True)
                      s = sum(g * y, dim, True)
                      where(n < eps, g / eps, (g - sign(x) * (abs(x) / n)**(p - 1) * s) / n)"""},
         samples=("normalize(x) | x(2,3)", "normalize(x, dim=0) | x(4)",
                  "normalize(x, p=3, dim=-1) | x(2,3)"),
         example="'normalize(x, dim=0)' x='[3, 4]' --seed '[1, 0]' -> x = [0.128, -0.096]")
_COSINE = """h = restore(g, a * b, dim, False)
             c = restore(y, a * b, dim, False)
             m = vector_norm({0}, 2, (dim,), True)
             n = clamp_min(vector_norm({1}, 2, (dim,), True), eps)
             h * ({1} / (clamp_min(m, eps) * n) - where(m < eps, 0, c * {0} / (m * m)))"""
composed("cosine_similarity(a|x1, b|x2, dim: axis = 1, eps: number = 1e-8)",
         torch="nn.functional.cosine_similarity(a, b, dim, eps)", formula="a·b / (‖a‖ ‖b‖)",
         ref="""m = clamp_min(vector_norm(a, 2, (dim,)), eps)
                n = clamp_min(vector_norm(b, 2, (dim,)), eps)
                sum(a * b, dim) / (m * n)""",
         kinks="(vector_norm(a, 2, (dim,)) == 0) | (vector_norm(b, 2, (dim,)) == 0)",
         vjp={"a": _COSINE.format("a", "b"), "b": _COSINE.format("b", "a")},
         samples=("cosine_similarity(a, b) | a(2,3) b(2,3)", "cosine_similarity(a, b, dim=0) | a(4) b(4)",
                  "cosine_similarity(a, b, dim=-1) | a(2,3) b(1,3)"),
         example="'cosine_similarity(a, b, dim=0)' a='[3, 4]' b='[1, 0]' -> a = [0.128, -0.096]; "
                 "b = [0, 0.8]")
composed("pairwise_distance(a|x1, b|x2, p: number = 2, eps: number = 1e-6, keepdim: flag = False)",
         torch="nn.functional.pairwise_distance(a, b, p, eps, keepdim)",
         formula="‖a - b + ε‖ₚ along the last dimension", ref="vector_norm(a - b + eps, p, (-1,), keepdim)",
         kinks=("x = a - b + eps; dim = (-1,)", _NORM_KINKS.format(p="p")),
         convention="0 where the distance is 0",
         vjp={"a": ("x = a - b + eps; dim = (-1,)", _NORM_RULE.format(p="p", sign="")),
              "b": ("x = a - b + eps; dim = (-1,)", _NORM_RULE.format(p="p", sign="-"))},
         samples=("pairwise_distance(a, b) | a(2,3) b(2,3)",
                  "pairwise_distance(a, b, 1, keepdim=True) | a(2,3) b(3)",
                  "pairwise_distance(a, b, p=3) | a(2,3) b(2,3)"),
         example="'pairwise_distance(a, b)' a='[3, 4]' b='[0, 0]' -> a = [0.6000001, 0.7999999]; "
                 "b = [-0.6000001, -0.7999999]")

# ---- log-sum-exp and softmax -------------------------------------------------------------------------------
family("Softmax", source="T. Blanchard, D. J. Higham, N. J. Higham, IMA J. Numer. Anal. 41 (2021)")

composed("logsumexp(x, dim: axes, keepdim: flag = False)", torch="logsumexp(x, dim, keepdim)",
         formula="log Σ exp(x)",
         ref="""m = 0 if numel(x) == 0 else detach(amax(x, dim, True))
                m = where(abs(m) == inf, 0, m)
                n = log(sum(exp(x - m), dim, True)) + m
                n if keepdim else sum(n, dim)""",
         vjp={"x": "restore(g, x, dim, keepdim) * exp(x - restore(y, x, dim, keepdim))"},
         samples=(*_samples(_ALONG[1:4], "logsumexp"), "logsumexp(x, -1) | x(2,0)", "logsumexp(x, 0) | x()"),
         example="'logsumexp(x, 0)' x='[1, 2]' -> x = [0.2689414, 0.7310586]")
_SOFT = ("{0}(x, 0) | x(3)", "{0}(x, dim=1) | x(2,3)", "{0}(x, dim=-2) | x(2,3)",
         "{0}(x, 1) | x(2,0)", "{0}(x, 0) | x()")
composed("softmax(x, dim: axis)",
         ref="e = exp(x if numel(x) == 0 else x - detach(amax(x, dim, True))); e / sum(e, dim, True)",
         formula="exp(x) / Σ exp(x)", vjp={"x": "y * (g - sum(g * y, dim, True))"},
         samples=_samples(_SOFT, "softmax"),
         example="'softmax(x, 0)' x='[1, 2]' --seed '[1, 0]' -> x = [0.1966119, -0.1966119]")
composed("log_softmax(x, dim: axis)", formula="x - log Σ exp(x)",
         ref="s = x if numel(x) == 0 else x - detach(amax(x, dim, True)); s - log(sum(exp(s), dim, True))",
         vjp={"x": "g - exp(y) * sum(g, dim, True)"},
         samples=_samples(_SOFT, "log_softmax"),
         example="'log_softmax(x, 0)' x='[1, 2]' --seed '[1, 0]' -> x = [0.7310586, -0.7310586]")
composed("softmin(x, dim: axis)", torch="nn.functional.softmin(x, dim)", ref="softmax(-x, dim)",
         formula="exp(-x) / Σ exp(-x)", vjp={"x": "-y * (g - sum(g * y, dim, True))"},
         samples=_samples(_SOFT, "softmin"),
         example="'softmin(x, 0)' x='[1, 2]' --seed '[1, 0]' -> x = [-0.1966119, 0.1966119]")

# ---- scans -------------------------------------------------------------------------------------------------
family("Scans", source="torch FunctionsManual.cpp")

array("cumsum(x, dim: axis)", torch="cumsum(x, dim)", numpy="kernels.cumsum", jax="cumsum(x, axis=dim)",
      complex="numpy", mixes="dim", vjp={"x": "flip(cumsum(flip(g, dim), dim), dim)"},
      samples=_samples(_SCANS, "cumsum"),
      example="'cumsum(x, 0)' x='[1, 2, 3]' --seed '[1, 10, 100]' -> x = [111, 110, 100]")
array("cumprod(x, dim: axis)", torch="cumprod(x, dim)", numpy="kernels.cumprod",
      jax="cumprod(x, axis=dim)", complex="numpy", mixes="dim", vjp={"x": "cumprod_rule(g, x, dim)"},
      samples=(*_samples(_SCANS, "cumprod"), "cumprod(x * [1, 0, 1, 0], 0) | x(4)"),
      example="'cumprod(x, 0)' x='[2, 0, 3]' --seed '[1, 10, 100]' -> x = [1, 620, 0]")
array("cumprod_rule(g, x, dim: axis)", torch="", numpy="kernels.cumprod_rule", hidden=True,
      formula="Σ_{k≥i} g_k Π_{j≤k, j≠i} x_j", note="cumprod's derivative, zeros or not")
array("logcumsumexp(x, dim: axis)", torch="logcumsumexp(x, dim)", numpy="kernels.logcumsumexp",
      complex="numpy", mixes="dim", formula="log Σ_{j≤i} exp(x_j)",
      vjp={"x": """m = 0 if numel(x) == 0 else amax(y, dim, True)
                   exp(x - m) * flip(cumsum(flip(g * exp(m - y), dim), dim), dim)"""},
      samples=_samples(_SCANS, "logcumsumexp"),
      example="'logcumsumexp(x, 0)' x='[1, 2]' --seed '[1, 1]' -> x = [1.268941, 0.7310586]")
for _name, _example in [("cummax", "[11, 0, 100]"), ("cummin", "[1, 110, 0]")]:
    several(f"{_name}(x, dim: axis)",
            fields={"values": f"{_name}_values(x, dim)", "indices": f"{_name}_indices(x, dim)"},
            kinks="diff(sort(x, dim).values, dim=dim) == 0", convention="all of g to the last one among ties",
            samples=(f"{_name}(x, 0).values | x(4)", f"{_name}(x, dim=-1)[0] | x(2,3)"),
            example=f"'{_name}(x, 0).values' x='[2, 1, 3]' --seed '[1, 10, 100]' -> x = {_example}")
    array(f"{_name}_values(x, dim: axis)", torch=f"{_name}(x, dim).values", numpy=f"kernels.{_name}",
          complex="numpy", mixes="one of dim", hidden=True,
          vjp={"x": f"scatter_add(0 * x, dim, {_name}_indices(x, dim), g)"})
    array(f"{_name}_indices(x, dim: axis)", torch=f"{_name}(x, dim).indices",
          numpy=f"kernels.{_name}_indices", complex="constant", frozen=True, hidden=True)
