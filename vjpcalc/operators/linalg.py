"""Linear algebra. Matrices are the last two dimensions, and those before them a batch where torch has it so.

In scope in every text: the parameters by name; in ``vjp`` also g (the cotangent) and y (the output).
"""

from vjpcalc.operators.registry import array, composed, family, movement, several

# fmt: off
# ---- products ----------------------------------------------------------------------------------------------
family("Products",
       source="M. Giles, Collected matrix derivative results for forward and reverse mode AD, 2008")
# a vector is a row (on the left) or a column (on the right), and so is its part of g
_G = """g = unsqueeze(g, -1) if b.ndim == 1 else g
        g = unsqueeze(g, -2) if a.ndim == 1 else g"""
_SIZE = """n = (a.shape[-2] if a.ndim > 1 else 1) * (b.shape[-1] if b.ndim > 1 else 1)
           for i in range(3, max(a.ndim, b.ndim) + 1):
               n = n * max(a.shape[-i] if i <= a.ndim else 1, b.shape[-i] if i <= b.ndim else 1)
           n"""
array("matmul(a, b)", infix="@", aliases="dot", numpy="matmul", complex="numpy", size=_SIZE,
      mixes="products j,j-> | j,...jk->...k | ...ij,j->...i | ...ij,...jk->...ik",
      vjp={"a": (_G, "g @ (unsqueeze(b, -1) if b.ndim == 1 else b).mT"),
           "b": (_G, """z = (unsqueeze(a, -2) if a.ndim == 1 else a).mT @ g
                        squeeze(z, -1) if b.ndim == 1 else z""")},
      samples=("a @ b | a(2,3) b(3,4)", "a @ b | a(3) b(3)", "a @ b | a(3) b(3,4)", "a @ b | a(2,3) b(3)",
               "a @ b | a(3) b(2,3,4)", "a @ b | a(2,4,3) b(3)", "a @ b | a(2,1,2,3) b(4,3,2)",
               "a @ b | a(2,3) b(4,3,2)", "a @ b | a(2,0) b(0,3)", "matmul(a, b) | a(1,1) b(1,1)",
               "dot(a, b) | a(3) b(3)"),
      example="'a @ b' a='[[0, 0], [2, 2]]' b='[[1, 2], [1, 2]]' --seed '[[1, 2], [3, 4]]' "
              "-> a = [[5, 5], [11, 11]]; b = [[6, 8], [6, 8]]")
array("mm(a, b|mat2)", numpy="matmul", complex="numpy", size=_SIZE, vjp={"a": "g @ b.mT", "b": "a.mT @ g"},
      mixes="products ij,jk->ik",
      samples=("mm(a, b) | a(2,3) b(3,4)", "a.mm(b) | a(1,0) b(0,2)"),
      example="'mm(a, b)' a='[[1, 2]]' b='[[3], [4]]' --seed '[[1]]' -> a = [[3, 4]]; b = [[1], [2]]")
array("bmm(a, b|mat2)", numpy="matmul", complex="numpy", size=_SIZE, vjp={"a": "g @ b.mT", "b": "a.mT @ g"},
      mixes="products hij,hjk->hik",
      samples=("bmm(a, b) | a(2,3,2) b(2,2,4)", "a.bmm(b) | a(1,1,1) b(1,1,1)"),
      example="'bmm(a, b)' a='[[[1, 2]]]' b='[[[3], [4]]]' --seed '[[[1]]]' -> a = [[[3, 4]]]; "
              "b = [[[1], [2]]]")
array("mv(a, b|vec)", numpy="matmul", complex="numpy", mixes="products ij,j->i",
      vjp={"a": "outer(g, b)", "b": "g @ a"},
      samples=("mv(a, b) | a(2,3) b(3)",),
      example="'mv(a, b)' a='[[1, 2]]' b='[3, 4]' --seed '[1]' -> a = [[3, 4]]; b = [1, 2]")
composed("vdot(a, b)", size="1", ref="sum(a * b)", vjp={"a": "g * b", "b": "g * a"},
         samples=("vdot(a, b) | a(3) b(3)", "vdot(a, b) | a(0) b(0)"),
         example="'vdot(a, b)' a='[1, 2]' b='[3, 4]' -> a = [3, 4]; b = [1, 2]")
composed("vecdot(a, b, dim: axis = -1)", torch="linalg.vecdot", ref="sum(a * b, dim)",
         vjp={"a": "unsqueeze(g, dim) * b", "b": "unsqueeze(g, dim) * a"},
         samples=("vecdot(a, b) | a(2,3) b(2,3)", "vecdot(a, b, dim=0) | a(3,2) b(3,2)",
                  "vecdot(a, b) | a(2,3) b(1,3)"),
         example="'vecdot(a, b)' a='[1, 2]' b='[3, 4]' -> a = [3, 4]; b = [1, 2]")
array("inner(a, b)", numpy="inner", complex="numpy",
      mixes="products j,j-> | j,...j->... | ...j,j->... | ij,kj->ik",
      size="numel(a) * numel(b) // max(a.shape[-1] if a.ndim > 0 else 1, 1) // "
           "max(b.shape[-1] if b.ndim > 0 else 1, 1)",
      vjp={"a": "tensordot(g, b, b.ndim - 1)",
           "b": "movedim(tensordot(movedim(a, -1, 0), g, a.ndim - 1), 0, -1)"},
      samples=("inner(a, b) | a(3) b(3)", "inner(a, b) | a(2,3) b(4,3)", "inner(a, b) | a(3) b(2,2,3)",
               "inner(a, b) | a(2,3) b(3)"),
      example="'inner(a, b)' a='[1, 2]' b='[3, 4]' -> a = [3, 4]; b = [1, 2]")
array("outer(a, b|vec2)", aliases="ger", numpy="outer", complex="numpy", size="(numel(a), numel(b))",
      mixes="products i,j->ij",
      vjp={"a": "g @ b", "b": "a @ g"}, samples=("outer(a, b) | a(2) b(3)", "outer(a, b) | a(0) b(3)"),
      example="'outer(a, b)' a='[1, 2]' b='[3]' --seed '[[1], [2]]' -> a = [3, 6]; b = [5]")
array("einsum(equation|subscripts: text, *operands)", torch="einsum(equation, *operands)",
      numpy="kernels.einsum(equation, *operands)", jax="einsum(equation, *operands)", complex="numpy",
      mixes="products equation",
      vjp={"operands": "einsum_cotangents(g, operands, equation)"},
      samples=("einsum('ij,jk->ik', a, b) | a(2,3) b(3,4)", "einsum('ij,jk', a, b) | a(2,3) b(3,4)",
               "einsum('ii', a) | a(3,3)", "einsum('ii->i', a) | a(3,3)",
               "einsum('...ij->...ji', a) | a(2,2,3)", "einsum('i,j->ij', a, b) | a(2) b(3)",
               "einsum('bn,anm,bm->ba', a, b, c) | a(2,5) b(3,5,4) c(2,4)", "einsum('ij->', a) | a(2,3)",
               "einsum('ij->j', a) | a(2,3)", "einsum('...ij,...jk->...ik', a, b) | a(2,2,3) b(1,3,2)",
               "einsum('i,i', a, a) | a(3)", "einsum('iij,j->i', a, b) | a(2,2,3) b(3)",
               "einsum('...ij->ij', a) | a(2,2,3)", "einsum('ij,jk', a, b) | a(2,1) b(3,2)"),
      example="\"einsum('i,i', a, b)\" a='[1, 2]' b='[3, 4]' -> a = [3, 4]; b = [1, 2]")
several("einsum_cotangents(g, operands: tensors, equation: text)", hidden=True, count="len(operands)",
        part="einsum_cotangent(g, operands, equation, i)")
array("einsum_cotangent(g, operands: tensors, equation: text, i: int)", torch="", hidden=True,
      numpy="kernels.einsum_cotangent(g, operands, equation, i)", note="einsum of g and the other operands")
array("tensordot(a, b, dims|axes: any = 2)", torch="tensordot(a, b, dims=dims)",
      numpy="tensordot(a, b, axes=dims)", complex="numpy", mixes="products dims",
      vjp={"a": "tensordot_cotangent(g, a, b, dims, 0)", "b": "tensordot_cotangent(g, a, b, dims, 1)"},
      samples=("tensordot(a, b) | a(2,3,4) b(3,4,2)", "tensordot(a, b, 1) | a(2,3) b(3,4)",
               "tensordot(a, b, dims=0) | a(2) b(3)",
               "tensordot(a, b, dims=([1, 0], [0, 1])) | a(3,4,5) b(4,3,2)",
               "tensordot(a, b, ([-1], [0])) | a(2,3) b(3,2)"),
      example="'tensordot(a, b, 1)' a='[1, 2]' b='[3, 4]' -> a = [3, 4]; b = [1, 2]")
array("tensordot_cotangent(g, a, b, dims: any, which: int)", torch="", hidden=True,
      numpy="kernels.tensordot_cotangent(g, a, b, dims, which)")
array("kron(a, b)", numpy="kron", complex="numpy", size="numel(a) * numel(b)", mixes="products",
      vjp={"a": "accumulate(g * kron(ones_like(a), b), long(kron(positions(a), ones_like(b))), a)",
           "b": "accumulate(g * kron(a, ones_like(b)), long(kron(ones_like(a), positions(b))), b)"},
      samples=("kron(a, b) | a(2,3) b(2,2)", "kron(a, b) | a(2) b(3)", "kron(a, b) | a(2,2) b(3)"),
      example="'kron(a, b)' a='[1, 2]' b='[3, 4]' --seed '[1, 10, 100, 1000]' -> a = [43, 4300]; "
              "b = [201, 2010]")
array("cross(a, b, dim: axis = -1)", torch="linalg.cross", numpy="cross(a, b, axis=dim)", complex="numpy",
      mixes="dim",
      vjp={"a": "cross(b, g, dim)", "b": "cross(g, a, dim)"},
      samples=("cross(a, b) | a(3) b(3)", "cross(a, b) | a(2,3) b(1,3)",
               "cross(a, b, dim=0) | a(3,2) b(3,2)"),
      example="'cross(a, b)' a='[1, 0, 0]' b='[0, 1, 0]' --seed '[0, 0, 1]' -> a = [1, 0, 0]; b = [0, 1, 0]")
composed("multi_dot(tensors: tensors)", torch="linalg.multi_dot(tensors)",
         ref="""y = tensors[0]
                for i in range(1, len(tensors)):
                    y = y @ tensors[i]
                y""",
         size="tensors[0].shape[0] * tensors[len(tensors) - 1].shape[-1]",
         vjp={"tensors": "multi_dot_cotangents(g, tensors)"},
         samples=("multi_dot([a, b, c]) | a(2,3) b(3,4) c(4,2)", "multi_dot([a, b, c]) | a(3) b(3,4) c(4)",
                  "multi_dot([a, b]) | a(2,3) b(3)"),
         example="'multi_dot([a, b])' a='[1, 2]' b='[3, 4]' -> a = [3, 4]; b = [1, 2]")
several("multi_dot_cotangents(g, tensors: tensors)", hidden=True, count="len(tensors)",
        part="""n = len(tensors)
                g = unsqueeze(g, -1) if tensors[n - 1].ndim == 1 else g
                g = unsqueeze(g, -2) if tensors[0].ndim == 1 else g
                for j in range(i):
                    t = tensors[j]
                    g = (unsqueeze(t, 0) if t.ndim == 1 else t).mT @ g
                for j in range(n - 1 - i):
                    t = tensors[n - 1 - j]
                    g = g @ (unsqueeze(t, -1) if t.ndim == 1 else t).mT
                reshape(g, tensors[i].shape)""")
for _name, _shapes in [("addmm", "x(2,4) a(2,3) b(3,4)"), ("baddbmm", "x(2,2,4) a(2,2,3) b(2,3,4)")]:
    composed(f"{_name}(x, a|mat1|batch1, b|mat2|batch2, beta: number = 1, alpha: number = 1)",
             ref="beta * x + alpha * (a @ b)", torch=f"{_name}(x, a, b, beta=beta, alpha=alpha)", size=_SIZE,
             vjp={"x": "beta * g", "a": "alpha * (g @ b.mT)", "b": "alpha * (a.mT @ g)"},
             samples=(f"{_name}(x, a, b) | {_shapes}", f"{_name}(x, a, b, beta=0.5, alpha=2) | {_shapes}",
                      f"{_name}(x, a, b) | {_shapes.replace('x(2,2,4)', 'x(4)').replace('x(2,4)', 'x(4)')}"),
             example="'addmm(x, a, b)' x='[[1]]' a='[[2]]' b='[[3]]' --seed '[[1]]' -> x = [[1]]; a = "
                     "[[3]]; b = [[2]]"
                     if _name == "addmm"
                     else "'baddbmm(x, a, b)' x='[[[1]]]' a='[[[2]]]' b='[[[3]]]' --seed '[[[1]]]' -> x = "
                          "[[[1]]]; a = [[[3]]]; b = [[[2]]]")
composed("addbmm(x, a|batch1, b|batch2, beta: number = 1, alpha: number = 1)",
         ref="beta * x + alpha * sum(a @ b, 0)", torch="addbmm(x, a, b, beta=beta, alpha=alpha)", size=_SIZE,
         vjp={"x": "beta * g", "a": "alpha * (g @ b.mT)", "b": "alpha * (a.mT @ g)"},
         samples=("addbmm(x, a, b) | x(2,4) a(3,2,3) b(3,3,4)",
                  "addbmm(x, a, b, beta=2, alpha=0.5) | x(2,4) a(3,2,3) b(3,3,4)"),
         example="'addbmm(x, a, b)' x='[[1]]' a='[[[2]]]' b='[[[3]]]' --seed '[[1]]' -> x = [[1]]; "
                 "a = [[[3]]]; b = [[[2]]]")
composed("addmv(x, a|mat, b|vec, beta: number = 1, alpha: number = 1)", ref="beta * x + alpha * (a @ b)",
         torch="addmv(x, a, b, beta=beta, alpha=alpha)",
         vjp={"x": "beta * g", "a": "alpha * outer(g, b)", "b": "alpha * (g @ a)"},
         samples=("addmv(x, a, b) | x(2) a(2,3) b(3)",
                  "addmv(x, a, b, beta=2, alpha=0.5) | x(1) a(2,3) b(3)"),
         example="'addmv(x, a, b)' x='[1]' a='[[2]]' b='[3]' --seed '[1]' -> x = [1]; a = [[3]]; b = [2]")
composed("addr(x, a|vec1, b|vec2, beta: number = 1, alpha: number = 1)",
         ref="beta * x + alpha * outer(a, b)", torch="addr(x, a, b, beta=beta, alpha=alpha)",
         vjp={"x": "beta * g", "a": "alpha * (g @ b)", "b": "alpha * (a @ g)"},
         samples=("addr(x, a, b) | x(2,3) a(2) b(3)", "addr(x, a, b, beta=2, alpha=0.5) | x(3) a(2) b(3)"),
         example="'addr(x, a, b)' x='[[1]]' a='[2]' b='[3]' --seed '[[1]]' -> x = [[1]]; a = [3]; b = [2]")
_APART = """d = unsqueeze(a, -2) - unsqueeze(b, -3)
            n = unsqueeze(where(y == 0, 1, y), -1)
            d = unsqueeze(g, -1) * sign(d) * (abs(d) / n) ** (p - 1)"""
composed("cdist(a, b, p: number = 2)", torch="cdist(a, b, p)",
         ref="""d = abs(unsqueeze(a, -2) - unsqueeze(b, -3))
                sqrt(sum(d * d, -1)) if p == 2 else sum(d, -1) if p == 1 else sum(d**p, -1) ** (1 / p)""",
         kinks="d = unsqueeze(a, -2) - unsqueeze(b, -3); d == 0 if p < 2 else sum(d * d, -1) == 0",
         convention="0 where two points meet", domain={"a": "(-2, 0)", "b": "(1, 3)"},
         vjp={"a": (_APART, "sum(d, -2)"), "b": (_APART, "-sum(d, -3)")},
         samples=("cdist(a, b) | a(2,3) b(4,3)", "cdist(a, b, p=1) | a(2,3) b(1,3)",
                  "cdist(a, b, p=3) | a(2,2,3) b(2,1,3)"),
         example="'cdist(a, b)' a='[[0, 0]]' b='[[3, 4]]' --seed '[[1]]' -> a = [[-0.6, -0.8]]; "
                 "b = [[0.6, 0.8]]")
composed("vander(x, N|n: int = None, increasing: flag = False)", torch="",
         ref="""n = numel(x) if N == None else N
                unsqueeze(x, -1) ** (arange(n) if increasing else flip(arange(n), 0))""",
         size="numel(x) * (numel(x) if N == None else N)",
         vjp={"x": """n = y.shape[-1]
                      e = arange(n) if increasing else flip(arange(n), 0)
                      sum(g * e * unsqueeze(x, -1) ** where(e == 0, 0, e - 1), -1)"""},
         samples=("vander(x) | x(3)", "vander(x, 4, increasing=True) | x(2)"),
         example="'vander(x)' x='[2, 3]' --seed '[[1, 5], [1, 5]]' -> x = [1, 1]")

# ---- diagonals and triangles -------------------------------------------------------------------------------
family("Diagonals and triangles", source="the transpose of choosing elements is adding to them")
composed("trace(x)", ref="sum(diag(x))", vjp={"x": "g * eye(x.shape[0], x.shape[1])"},
         samples=("trace(x) | x(3,3)", "trace(x) | x(2,3)"),
         example="'trace(x)' x='[[1, 2], [3, 4]]' -> x = [[1, 0], [0, 1]]")
array("diag(x, diagonal|k: int = 0)", torch="diag(x, diagonal)", numpy="diag(x, diagonal)", complex="numpy",
      mixes="moves",
      size="(numel(x) + abs(diagonal)) ** 2 if x.ndim == 1 else 1",
      vjp={"x": "accumulate(g, diag(positions(x), diagonal), x) if x.ndim == 2 else diag(g, diagonal)"},
      samples=("diag(x) | x(3)", "diag(x) | x(2,3)", "diag(x, 1) | x(2)", "diag(x, -1) | x(3,3)"),
      example="'diag(x)' x='[1, 2]' --seed '[[3, 4], [5, 6]]' -> x = [3, 6]")
composed("diagflat(x, offset|k: int = 0)", torch="diagflat(x, offset)", ref="diag(flatten(x), offset)",
         vjp={"x": "reshape(diag(g, offset), x.shape)"},
         samples=("diagflat(x) | x(2,2)", "diagflat(x, 1) | x(2)"),
         example="'diagflat(x)' x='[[1, 2]]' --seed '[[3, 4], [5, 6]]' -> x = [[3, 6]]")
movement("diagonal(x, offset: int = 0, dim1|axis1: axis = 0, dim2|axis2: axis = 1)",
         torch="diagonal(x, offset, dim1, dim2)", numpy="diagonal(x, offset, dim1, dim2)",
         vjp={"x": "accumulate(g, diagonal(positions(x), offset, dim1, dim2), x)"},
         samples=("diagonal(x) | x(3,3)", "diagonal(x, 1, -2, -1) | x(2,2,3)", "diagonal(x, -1) | x(3,2)"),
         example="'diagonal(x)' x='[[1, 2], [3, 4]]' --seed '[5, 6]' -> x = [[5, 0], [0, 6]]")
array("diag_embed(x, offset: int = 0, dim1: newaxis = -2, dim2: newaxis = -1)",
      torch="diag_embed(x, offset, dim1, dim2)", numpy="kernels.diag_embed(x, offset, dim1, dim2)",
      complex="numpy", mixes="moves", vjp={"x": "diagonal(g, offset, dim1, dim2)"},
      size="numel(x) * (x.shape[-1] + abs(offset))",
      samples=("diag_embed(x) | x(2,3)", "diag_embed(x, 1) | x(2)", "diag_embed(x, -1, 0, 2) | x(2,2)"),
      example="'diag_embed(x)' x='[1, 2]' --seed '[[3, 4], [5, 6]]' -> x = [3, 6]")
for _name, _example in [("triu", "[[5, 6], [0, 8]]"), ("tril", "[[5, 0], [7, 8]]")]:
    array(f"{_name}(x, diagonal|k: int = 0)", torch=f"{_name}(x, diagonal)", numpy=f"{_name}(x, diagonal)",
          complex="numpy", mixes="moves", vjp={"x": f"{_name}(g, diagonal)"},
          samples=(f"{_name}(x) | x(3,3)", f"{_name}(x, 1) | x(2,2,3)", f"x.{_name}(-1) | x(3,3)"),
          example=f"'{_name}(x)' x='[[1, 2], [3, 4]]' --seed '[[5, 6], [7, 8]]' -> x = {_example}")
several("block_diagonal_blocks(g, tensors: tensors)", hidden=True, count="len(tensors)",
        part="""m = 0
                n = 0
                for j in range(i):
                    t = atleast_2d(tensors[j])
                    m += t.shape[0]
                    n += t.shape[1]
                t = atleast_2d(tensors[i])
                reshape(narrow(narrow(g, 0, m, t.shape[0]), 1, n, t.shape[1]), tensors[i].shape)""")
array("block_diag(*tensors)", torch="block_diag(*tensors)", numpy="scipy.linalg.block_diag(*tensors)",
      complex="numpy", mixes="moves", vjp={"tensors": "block_diagonal_blocks(g, tensors)"},
      samples=("block_diag(a, b) | a(2,2) b(1,3)", "block_diag(a, b) | a(2) b()"),
      example="'block_diag(a, b)' a='[[1]]' b='[[2]]' --seed '[[3, 4], [5, 6]]' -> a = [[3]]; b = [[6]]")

# ---- inverses, determinants, functions of a matrix ---------------------------------------------------------
family("Linear algebra",
       source="M. Giles, Collected matrix derivative results for forward and reverse mode AD, 2008")
_WELL = "x @ x.mT + 3 * eye(3)"
_MATRIX, _NUMBER, _VECTOR = "...ij->...kl", "...ij->...", "...ij->...k"  # of a whole matrix
array("inv(a)", aliases="inverse", torch="linalg.inv", numpy="linalg.inv", complex="numpy", mixes=_MATRIX,
      vjp={"a": "-(y.mT @ g @ y.mT)"},
      samples=(f"inv({_WELL}) | x(3,3)", f"inv({_WELL}) | x(2,3,3)", "inv(x * x + 1) | x(1,1)",
               "inv(x) | x(0,0)"),
      example="'inv(a)' a='[[2]]' --seed '[[1]]' -> a = [[-0.25]]")
array("pinv(x)", torch="linalg.pinv", numpy="kernels.pinv", jax="linalg.pinv", complex="numpy",
      mixes=_MATRIX,
      note="x must have full rank",
      kinks="s = svdvals(x); s[..., -1:] <= 1e-15 * s[..., :1] * max(x.shape[-1], x.shape[-2])",
      source="G. Golub and V. Pereyra, The differentiation of pseudo-inverses, SIAM J. Numer. Anal. 10, 1973",
      vjp={"x": "-(y.mT @ g @ y.mT) + (g.mT - x @ y @ g.mT) @ y @ y.mT + y.mT @ y @ (g.mT - g.mT @ y @ x)"},
      samples=("pinv(x) | x(4,2)", "pinv(x) | x(2,4)", "pinv(x) | x(2,3,2)", f"pinv({_WELL}) | x(3,3)"),
      example="'pinv(x)' x='[[2], [0]]' --seed '[[1, 0]]' -> x = [[-0.25], [0]]")
array("solve(a, b, left: flag = True)", torch="linalg.solve(a, b, left=left)",
      numpy="kernels.solve(a, b, left)", complex="numpy",
      mixes="...ij,...kl->...mn | ...ij,...k->...l",  # b of matrices, or of vectors
      vjp={"a": """z = solve(a.mT, g, left)
                   if b.ndim == 1 or b.shape == a.shape[:-1]:
                       z = unsqueeze(z, -1)
                       y = unsqueeze(y, -1)
                   -(z @ y.mT) if left else -(y.mT @ z)""",
           "b": "solve(a.mT, g, left)"},
      samples=(f"solve({_WELL}, b) | x(3,3) b(3)", f"solve({_WELL}, b) | x(3,3) b(3,2)",
               f"solve({_WELL}, b) | x(2,3,3) b(2,3)", f"solve({_WELL}, b) | x(2,3,3) b(3,2)",
               f"solve({_WELL}, b, left=False) | x(3,3) b(2,3)", f"solve({_WELL}, b) | x(2,3,3) b(3)"),
      example="'solve(a, b)' a='[[2]]' b='[6]' --seed '[1]' -> a = [[-1.5]]; b = [0.5]")
array("solve_triangular(a, b, upper: flag, left: flag = True, unitriangular: flag = False)", complex="numpy",
      torch="linalg.solve_triangular(a, b, upper=upper, left=left, unitriangular=unitriangular)",
      numpy="kernels.solve_triangular(a, b, upper, left, unitriangular)", mixes="...ij,...kl->...mn",
      vjp={"a": """z = solve_triangular(a.mT, g, not upper, left, unitriangular)
                   z = -(z @ y.mT) if left else -(y.mT @ z)
                   k = 1 if unitriangular else 0
                   triu(z, k) if upper else tril(z, -k)""",
           "b": "solve_triangular(a.mT, g, not upper, left, unitriangular)"},
      samples=(f"solve_triangular({_WELL}, b, upper=True) | x(3,3) b(3,2)",
               f"solve_triangular({_WELL}, b, upper=False) | x(2,3,3) b(3,2)",
               f"solve_triangular({_WELL}, b, upper=True, left=False) | x(3,3) b(2,3)",
               "solve_triangular(x, b, upper=False, unitriangular=True) | x(3,3) b(3,1)"),
      example="'solve_triangular(a, b, upper=True)' a='[[2]]' b='[[6]]' --seed '[[1]]' -> a = [[-1.5]]; "
              "b = [[0.5]]")
composed("lstsq_solution(a, b)", torch="linalg.lstsq(a, b).solution", hidden=True, ref="pinv(a) @ b",
         size="numel(b)",
         vjp={"a": """
             p = pinv(a)
             h = g @ b.mT
             -(p.mT @ h @ p.mT) + (h.mT - a @ p @ h.mT) @ p @ p.mT + p.mT @ p @ (h.mT - h.mT @ p @ a)""",
              "b": "pinv(a).mT @ g"})
several("lstsq(a, b, rcond: any = None)",
        kinks="s = svdvals(a); s[..., -1:] <= 1e-15 * s[..., :1] * max(a.shape[-1], a.shape[-2])",
        fields={"solution": "lstsq_solution(a, b)"}, note="a must have full rank; .solution or [0]",
        samples=("lstsq(a, b).solution | a(4,2) b(4,1)", "lstsq(a, b)[0] | a(2,4,2) b(2,4,2)"),
        example="'lstsq(a, b).solution' a='[[2], [0]]' b='[[6], [1]]' --seed '[[1]]' "
                "-> a = [[-1.5], [0.25]]; b = [[0.5], [0]]")
array("det(x)", torch="linalg.det", numpy="linalg.det", complex="numpy", mixes=_NUMBER,
      vjp={"x": "g[..., None, None] * cofactors(x)"},
      note="at a singular matrix torch's gradient is 0, or rounding: that of the cofactors is right",
      samples=("det(x) | x(3,3)", "det(x) | x(2,2,2)", "det(x) | x(1,1)", "det(x) | x(0,0)"),
      example="'det(x)' x='[[1, 2], [3, 4]]' -> x = [[4, -3], [-2, 1]]")
array("cofactors(x)", torch="", numpy="kernels.cofactors", mixes=_MATRIX, hidden=True,
      note="det(x) inv(x).mT, of a singular matrix too")
array("logdet(x)", torch="logdet", kinks="logdet(x) == -inf", numpy="kernels.logdet", complex="numpy",
      mixes=_NUMBER, domain="(0, inf)", vjp={"x": "g[..., None, None] * inv(x).mT"},
      note="nan where the determinant is negative",
      samples=(f"logdet({_WELL}) | x(3,3)", f"logdet({_WELL}) | x(2,3,3)"),
      example="'logdet(x)' x='[[2, 0], [0, 4]]' -> x = [[0.5, 0], [0, 0.25]]")
array("slogdet_sign(x)", torch="linalg.slogdet(x).sign", numpy="linalg.slogdet(x).sign", complex="constant",
      hidden=True)
array("slogdet_logabsdet(x)", torch="linalg.slogdet(x).logabsdet", numpy="kernels.logabsdet",
      complex="numpy", mixes=_NUMBER, hidden=True, vjp={"x": "g[..., None, None] * inv(x).mT"})
several("slogdet(x)", kinks="slogdet_logabsdet(x) == -inf",
        fields={"sign": "slogdet_sign(x)", "logabsdet": "slogdet_logabsdet(x)"},
        samples=("slogdet(x).logabsdet | x(3,3)", "slogdet(x)[1] | x(2,2,2)", "slogdet(x).sign | x(3,3)"),
        example="'slogdet(x).logabsdet' x='[[2, 0], [0, -4]]' -> x = [[0.5, 0], [0, -0.25]]")
array("matrix_power(x, n: int)", torch="linalg.matrix_power(x, n)", numpy="linalg.matrix_power(x, n)",
      complex="numpy", mixes=_MATRIX,
      vjp={"x": """z = inv(x) if n < 0 else x
                   m = abs(n)
                   t = 0 * x
                   for i in range(m):
                       t = t + matrix_power(z, i).mT @ g @ matrix_power(z, m - 1 - i).mT
                   -(z.mT @ t @ z.mT) if n < 0 else t"""},
      samples=("matrix_power(x, 3) | x(3,3)", f"matrix_power({_WELL}, -2) | x(3,3)",
               "matrix_power(x, 0) + x | x(2,2)", "matrix_power(x, 2) | x(2,2,2)",
               "matrix_power(x, 1) | x(1,1)"),
      example="'matrix_power(x, 3)' x='[[2]]' --seed '[[1]]' -> x = [[12]]")
array("matrix_exp(x)", aliases="expm", torch="linalg.matrix_exp", numpy="kernels.matrix_exp",
      jax="scipy.linalg.expm", complex="numpy", mixes=_MATRIX,
      source="R. Mathias, A chain rule for matrix functions, SIAM J. Matrix Anal. Appl. 17, 1996",
      vjp={"x": """n = x.shape[-1]
                   z = matrix_exp(cat([cat([x.mT, g], -1), cat([0 * x, x.mT], -1)], -2))
                   narrow(narrow(z, -2, 0, n), -1, n, n)"""},
      samples=("matrix_exp(x) | x(3,3)", "matrix_exp(x) | x(2,2,2)", "matrix_exp(x) | x(1,1)",
               "matrix_exp(5 * x) | x(2,2)"),
      example="'matrix_exp(x)' x='[[0]]' --seed '[[1]]' -> x = [[1]]")
composed("symmetrized(x, lower: flag)", torch="", hidden=True,
         ref="""s = (x + x.mT) / 2
                t = tril(x) + tril(x, -1).mT if lower else triu(x) + triu(x, 1).mT
                s + detach(t - s)""",
         note="the value of one triangle, mirrored; the derivative in symmetric directions")
array("cholesky_lower(x)", torch="linalg.cholesky", numpy="kernels.cholesky", jax="linalg.cholesky",
      complex="numpy", mixes=_MATRIX, hidden=True)
composed("cholesky(x, upper: flag = False)", torch="linalg.cholesky(x, upper=upper)",
         ref="y = cholesky_lower(symmetrized(x, not upper)); y.mT if upper else y",
         note="x must be symmetric and positive definite; as in torch one triangle is read, and the "
              "gradient is made symmetric",
         source="I. Murray, Differentiation of the Cholesky decomposition, 2016",
         vjp={"x": """l = y.mT if upper else y
                      p = tril(l.mT @ (g.mT if upper else g))
                      p = p - diag_embed(diagonal(p, 0, -2, -1)) / 2
                      s = solve(l, solve(l.mT, p), left=False)
                      (s + s.mT) / 2"""},
         samples=(f"cholesky({_WELL}) | x(3,3)", f"cholesky({_WELL}, upper=True) | x(3,3)",
                  f"cholesky({_WELL}) | x(2,3,3)", "cholesky(x * x + 1) | x(1,1)",
                  f"cholesky({_WELL} + tanh(c + c.mT) / 2) | x(3,3) c(3,3)"),
         example="'cholesky(x)' x='[[4]]' --seed '[[1]]' -> x = [[0.25]]")
composed("cholesky_solve(b, l|L, upper: flag = False)", torch="cholesky_solve(b, l, upper)",
         ref="solve(l.mT @ l if upper else l @ l.mT, b)",
         note="l must be triangular; its gradient is that of a full matrix, as in torch",
         vjp={"b": "solve(l.mT @ l if upper else l @ l.mT, g)",
              "l": """h = solve(l.mT @ l if upper else l @ l.mT, g) @ y.mT
                      -l @ (h + h.mT) if upper else -(h + h.mT) @ l"""},
         samples=("cholesky_solve(b, cholesky(x @ x.mT + 3 * eye(3))) | x(3,3) b(3,2)",
                  "cholesky_solve(b, cholesky(x @ x.mT + 3 * eye(3)).mT, upper=True) | x(3,3) b(3,1)"),
         example="'cholesky_solve(b, l)' b='[[8]]' l='[[2]]' --seed '[[1]]' -> b = [[0.25]]; l = [[-2]]")

# ---- spectra -----------------------------------------------------------------------------------------------
family("Spectra",
       source="M. Giles, Collected matrix derivative results for forward and reverse mode AD, 2008")
array("eigenvalues(x)", torch="linalg.eigvalsh", numpy="linalg.eigvalsh", mixes=_VECTOR, hidden=True)
array("eigenvectors(x, UPLO: text)", torch="", numpy="linalg.eigh(x, UPLO).eigenvectors", mixes=_MATRIX,
      hidden=True)
_EIGEN = {"kinks": """w = eigenvalues(symmetrized(x, UPLO == 'L'))
                      diff(w) <= 1e-14 * amax(abs(w), -1, True) if x.shape[-1] > 1 else False""",
              "convention": "where eigenvalues meet, each has the derivative along the eigenvector that was "
                            "found"}
composed("eigvalsh(x, UPLO: text = 'L')", torch="linalg.eigvalsh(x, UPLO)",
         ref="eigenvalues(symmetrized(x, UPLO == 'L'))",
         note="x must be symmetric; as in torch one triangle is read, and the gradient is symmetric",
         vjp={"x": "v = eigenvectors(x, UPLO); (v * g[..., None, :]) @ v.mT"},
         samples=("eigvalsh(x + x.mT) | x(3,3)", "eigvalsh(x + x.mT, UPLO='U') | x(2,3,3)",
                  "eigvalsh(x) | x(1,1)"),
         example="'eigvalsh(x)' x='[[1, 0], [0, 2]]' --seed '[3, 4]' -> x = [[3, 0], [0, 4]]", **_EIGEN)
several("eigh(x, UPLO: text = 'L')", fields={"eigenvalues": "eigvalsh(x, UPLO)"},
        note="its eigenvectors are not part of the language: their signs are arbitrary",
        samples=("eigh(x + x.mT).eigenvalues | x(3,3)", "eigh(x + x.mT)[0] | x(3,3)"),
        example="'eigh(x).eigenvalues' x='[[1, 0], [0, 2]]' --seed '[3, 4]' -> x = [[3, 0], [0, 4]]",
        **_EIGEN)
array("left_vectors(x)", torch="", numpy="linalg.svd(x, full_matrices=False).U", mixes=_MATRIX, hidden=True)
array("right_vectors(x)", torch="", numpy="linalg.svd(x, full_matrices=False).Vh", mixes=_MATRIX,
      hidden=True)
_SINGULAR = {"kinks": """s = svdvals(x)
                         cat([s[..., :-1] - s[..., 1:], s[..., -1:]], -1) <= 1e-14 * s[..., :1]""",
                 "convention": "where singular values meet or vanish, each has the derivative along the "
                               "vectors that were found"}
array("svdvals(x)", torch="linalg.svdvals", numpy="linalg.svdvals", jax="linalg.svd(x, compute_uv=False)",
      mixes=_VECTOR,
      vjp={"x": "(left_vectors(x) * g[..., None, :]) @ right_vectors(x)"},
      samples=("svdvals(x) | x(3,3)", "svdvals(x) | x(2,4)", "svdvals(x) | x(2,3,2)"),
      example="'svdvals(x)' x='[[2, 0], [0, 1]]' --seed '[3, 4]' -> x = [[3, 0], [0, 4]]", **_SINGULAR)
several("svd(x, full_matrices: flag = True)", fields={"S": "svdvals(x)"},
        note="its vectors are not part of the language: their signs are arbitrary",
        samples="svd(x).S | x(3,2)",
        example="'svd(x).S' x='[[2, 0], [0, 1]]' --seed '[3, 4]' -> x = [[3, 0], [0, 4]]", **_SINGULAR)
composed("cond(x)", torch="linalg.cond", ref="s = svdvals(x); s[..., 0] / s[..., -1]",
         kinks=_SINGULAR["kinks"],
         vjp={"x": """
             s = svdvals(x)
             u = left_vectors(x)
             v = right_vectors(x)
             h = g[..., None, None] / s[..., -1:, None]
             h * (u[..., :, :1] @ v[..., :1, :] - y[..., None, None] * (u[..., :, -1:] @ v[..., -1:, :]))"""},
         samples=("cond(x) | x(3,3)", "cond(x) | x(2,3,2)"),
         example="'cond(x)' x='[[4, 0], [0, 2]]' -> x = [[0.5, 0], [0, -1]]")
composed("matrix_norm(x, ord: any = 'fro', dim: axes = (-2, -1), keepdim: flag = False)",
         torch="linalg.matrix_norm(x, ord, dim, keepdim)",
         ref="""m = movedim(x, dim, (-2, -1))
                if ord == 'fro':
                    y = sqrt(sum(m * m, (-2, -1)))
                elif ord == 'nuc':
                    y = sum(svdvals(m), -1)
                elif abs(ord) == 2:
                    y = amax(svdvals(m), -1) if ord > 0 else amin(svdvals(m), -1)
                else:
                    c = sum(abs(m), -2 if abs(ord) == 1 else -1)
                    y = amax(c, -1) if ord > 0 else amin(c, -1)
                reshape(y, sum(x, dim, True).shape) if keepdim else y""",
         kinks="""m = movedim(x, dim, (-2, -1))
                  if ord == 'fro':
                      k = sum(m * m) == 0
                  elif ord == 'nuc':
                      k = svdvals(m)[..., -1:] <= 1e-14 * svdvals(m)[..., :1]
                  elif abs(ord) == 2:
                      s = svdvals(m)
                      k = cat([s[..., :-1] - s[..., 1:], s[..., -1:]], -1) <= 1e-14 * s[..., :1]
                  else:
                      c = sum(abs(m), -2 if abs(ord) == 1 else -1)
                      k = (diff(sort(c).values) == 0).any() | (m == 0).any()
                  k""",
         note="at a kink: 0 at a zero matrix (fro), equal shares to equal sums (1 and inf)",
         vjp={"x": """
             m = movedim(x, dim, (-2, -1))
             h = reshape(g, m[..., :1, :1].shape)
             z = reshape(y, m[..., :1, :1].shape)
             if ord == 'fro':
                 t = where(z == 0, 0, h * m / where(z == 0, 1, z))
             elif ord == 'nuc':
                 t = h * (left_vectors(m) @ right_vectors(m))
             elif abs(ord) == 2:
                 i = 0 if ord > 0 else -1
                 t = h * left_vectors(m)[..., :, i].unsqueeze(-1) @ right_vectors(m)[..., i, :].unsqueeze(-2)
             else:
                 c = sum(abs(m), -2 if abs(ord) == 1 else -1, True)
                 k = c == z
                 t = h * sign(m) * k / sum(k, -1 if abs(ord) == 1 else -2, True)
             movedim(t, (-2, -1), dim)"""},
         samples=("matrix_norm(x) | x(2,3)", "matrix_norm(x, 'nuc') | x(3,2)",
                  "matrix_norm(x, 2) | x(2,3,3)", "matrix_norm(x, -2) | x(3,3)",
                  "matrix_norm(x, 1) | x(2,3)", "matrix_norm(x, inf, keepdim=True) | x(2,2,3)",
                  "matrix_norm(x, -inf) | x(2,3)", "matrix_norm(x, dim=(0, 1)) | x(2,3,2)",
                  "matrix_norm(x, -1, (0, -1), True) | x(2,2,3)"),
         example="'matrix_norm(x)' x='[[3, 0], [0, 4]]' -> x = [[0.6, 0], [0, 0.8]]")
