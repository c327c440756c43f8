"""Operators that move, copy and choose elements.

In scope in every text: the parameters by name; in ``vjp`` also g (the cotangent) and y (the output). Where a
rule has no shorter form it runs the operator on the numbers of the elements, ``positions(x)``, and lets
``accumulate`` add each element of g to the element of x that it came from.
"""

from vjpcalc.operators.registry import array, composed, elementwise, family, movement, several

# fmt: off
_SIZE = """n = 1
           for i in range(len(shape)):
               n = n * max(shape[i], 1)
           n"""
_COPIES = """n = numel(x)
             for i in range(len(sizes)):
                 n = n * sizes[i]
             n"""

# ---- what the rules below are made of ----------------------------------------------------------------------
family("Shape", source="a permutation's transpose is its inverse; a copy's transpose is a sum")
array("positions(x)", torch="", numpy="kernels.positions", complex="constant", frozen=True, hidden=True)
array("accumulate(g, p: indices, x)", torch="", numpy="kernels.accumulate", hidden=True,
      in_words="each element back to where it came from",
      note="g's elements added up at the positions p of a tensor shaped like x")
_PART = "the part that came from there"
several("parted(g, tensors: tensors, dim: axis)", hidden=True, count="len(tensors)", in_words=_PART,
        part="""start = 0
                for j in range(i):
                    start += tensors[j].shape[dim]
                narrow(g, dim, start, tensors[i].shape[dim])""")
several("parted_rows(g, tensors: tensors)", hidden=True, count="len(tensors)", in_words=_PART,
        part="""start = 0
                for j in range(i):
                    start += tensors[j].shape[0] if tensors[j].ndim > 1 else 1
                narrow(g, 0, start, tensors[i].shape[0] if tensors[i].ndim > 1 else 1)""")
for _name, _dim in [("columns", 1), ("layers", 2)]:
    several(f"parted_{_name}(g, tensors: tensors)", hidden=True, count="len(tensors)", in_words=_PART,
            part=f"""start = 0
                     for j in range(i):
                         start += tensors[j].shape[{_dim}] if tensors[j].ndim > {_dim} else 1
                     n = tensors[i].shape[{_dim}] if tensors[i].ndim > {_dim} else 1
                     reshape(narrow(g, {_dim}, start, n), tensors[i].shape)""")

# ---- one shape for another ---------------------------------------------------------------------------------
movement("reshape(x, *shape: shape)", aliases="view", torch="reshape(x, shape)", numpy="reshape(x, shape)",
         vjp={"x": "reshape(g, x.shape)"},
         samples=("reshape(x, (3, 2)) | x(2,3)", "x.view(-1) | x(2,3)", "x.reshape(6, -1) | x(2,3)",
                  "reshape(x, (0, 5)) | x(0,2)", "reshape(x, ()) | x(1)"),
         example="'reshape(x, (2, 2))' x='[1, 2, 3, 4]' --seed '[[1, 2], [3, 4]]' -> x = [1, 2, 3, 4]")
movement("reshape_as(x, other: constant)", aliases="view_as", torch="Tensor.reshape_as",
         numpy="kernels.reshape_as", jax="reshape(x, y.shape)", vjp={"x": "reshape(g, x.shape)"},
         samples="reshape_as(x, ones(3, 2)) | x(2,3)",
         example="'x.view_as(ones(2, 1))' x='[1, 2]' --seed '[[3], [4]]' -> x = [3, 4]")
movement("flatten(x, start_dim: axis = 0, end_dim: axis = -1)", numpy="kernels.flatten",
         jax="reshape(x, y.shape)", vjp={"x": "reshape(g, x.shape)"},
         samples=("flatten(x) | x(2,3)", "flatten(x, 1) | x(2,3,2)", "flatten(x, 0, -2) | x(2,3,2)",
                  "flatten(x) | x()"),
         example="'flatten(x)' x='[[1, 2], [3, 4]]' --seed '[1, 2, 3, 4]' -> x = [[1, 2], [3, 4]]")
movement("ravel(x)", vjp={"x": "reshape(g, x.shape)"}, samples=("ravel(x) | x(2,3)", "ravel(x) | x()"),
         example="'ravel(x)' x='[[1, 2]]' --seed '[5, 6]' -> x = [[5, 6]]")
movement("unflatten(x, dim: axis, sizes: shape)", torch="unflatten(x, dim, sizes)",
         numpy="kernels.unflatten", jax="reshape(x, y.shape)", vjp={"x": "reshape(g, x.shape)"},
         samples=("unflatten(x, 1, (2, -1)) | x(3,4)", "unflatten(x, -1, (2, 2)) | x(4)"),
         example="'unflatten(x, 0, (2, 1))' x='[1, 2]' --seed '[[3], [4]]' -> x = [3, 4]")
movement("squeeze(x, dim: axes = None)", numpy="kernels.squeeze", jax="reshape(x, y.shape)",
         vjp={"x": "reshape(g, x.shape)"}, note="a dimension of another size than 1 stays, as in torch",
         samples=("squeeze(x) | x(1,3,1)", "squeeze(x, 0) | x(1,3,1)", "squeeze(x, 1) | x(1,3,1)",
                  "squeeze(x, (0, -1)) | x(1,3,1)"),
         example="'squeeze(x)' x='[[1, 2]]' --seed '[3, 4]' -> x = [[3, 4]]")
movement("unsqueeze(x, dim: newaxis)", aliases="expand_dims", torch="unsqueeze(x, dim)",
         numpy="expand_dims(x, axis=dim)", vjp={"x": "reshape(g, x.shape)"},
         samples=("unsqueeze(x, 0) | x(3)", "unsqueeze(x, -1) | x(2,3)", "unsqueeze(x, 0) | x()"),
         example="'unsqueeze(x, 0)' x='[1, 2]' --seed '[[3, 4]]' -> x = [3, 4]")
movement("atleast_1d(x)", vjp={"x": "reshape(g, x.shape)"},
         samples=("atleast_1d(x) | x()", "atleast_1d(x) | x(2,3)"),
         example="'atleast_1d(x)' x=2 --seed '[3]' -> x = 3")
movement("atleast_2d(x)", vjp={"x": "reshape(g, x.shape)"},
         samples=("atleast_2d(x) | x()", "atleast_2d(x) | x(3)"),
         example="'atleast_2d(x)' x='[1, 2]' --seed '[[3, 4]]' -> x = [3, 4]")
movement("atleast_3d(x)", vjp={"x": "reshape(g, x.shape)"},
         samples=("atleast_3d(x) | x(3)", "atleast_3d(x) | x(2,3)"),
         example="'atleast_3d(x)' x='[1, 2]' --seed '[[[3], [4]]]' -> x = [3, 4]")

# ---- the order of the dimensions ---------------------------------------------------------------------------
movement("permute(x, *dims: ints)", aliases="permute_dims", torch="permute(x, dims)",
         numpy="transpose(x, dims)", vjp={"x": "accumulate(g, permute(positions(x), dims), x)"},
         samples=("permute(x, (2, 0, 1)) | x(2,3,4)", "x.permute(1, 0) | x(2,3)",
                  "permute(x, (-1, 0)) | x(2,0)"),
         example="'permute(x, (1, 0))' x='[[1, 2]]' --seed '[[3], [4]]' -> x = [[3, 4]]")
movement("transpose(x, dim0|axis0: axis, dim1|axis1: axis)", aliases="swapaxes swapdims",
         torch="transpose(x, dim0, dim1)", numpy="swapaxes(x, dim0, dim1)",
         vjp={"x": "transpose(g, dim0, dim1)"},
         samples=("transpose(x, 0, 1) | x(2,3)", "swapaxes(x, -1, 0) | x(2,3,4)",
                  "x.transpose(-2, -1) | x(2,0,4)"),
         example="'transpose(x, 0, 1)' x='[[1, 2]]' --seed '[[3], [4]]' -> x = [[3, 4]]")
movement("transpose(x, *dims|axes: ints)", torch="permute(x, dims)", numpy="transpose(x, dims)",
         vjp={"x": "accumulate(g, permute(positions(x), dims), x)"},
         note="NumPy's: an order of all dimensions; two whole numbers are torch's two dimensions to be "
              "exchanged",
         samples=("transpose(x, (2, 0, 1)) | x(2,3,4)", "x.transpose(1, 2, 0) | x(2,3,4)"),
         example="'transpose(x, (1, 0))' x='[[1, 2]]' --seed '[[3], [4]]' -> x = [[3, 4]]")
composed("T(x)", aliases="t transpose", torch="",
         ref="""for i in range(x.ndim - 1):
                    x = movedim(x, -1, i)
                x""", vjp={"x": "g.T"},
         samples=("x.T | x(2,3)", "x.t() | x(3)", "x.T | x(2,3,4)", "transpose(x) | x(2,3)"),
         example="'x.T' x='[[1, 2]]' --seed '[[3], [4]]' -> x = [[3, 4]]")
movement("mT(x)", aliases="adjoint matrix_transpose H mH", torch="transpose(x, -2, -1)",
         numpy="matrix_transpose", vjp={"x": "g.mT"},
         samples=("x.mT | x(2,3)", "x.mH | x(2,3,4)", "adjoint(x) | x(2,0)"),
         example="'x.mT' x='[[1, 2]]' --seed '[[3], [4]]' -> x = [[3, 4]]")
movement("movedim(x, source: axes, destination: axes)", aliases="moveaxis",
         torch="movedim(x, source, destination)", numpy="moveaxis(x, source, destination)",
         vjp={"x": "movedim(g, destination, source)"},
         samples=("movedim(x, 0, -1) | x(2,3,4)", "movedim(x, (0, 1), (2, 0)) | x(2,3,4)"),
         example="'movedim(x, 0, 1)' x='[[1, 2]]' --seed '[[3], [4]]' -> x = [[3, 4]]")
movement("flip(x, *dims|dim|axis: axes)", torch="flip(x, dims)", numpy="flip(x, axis=dims)",
         vjp={"x": "flip(g, dims)"},
         samples=("flip(x, (0, 1)) | x(2,3)", "flip(x, 0) | x(4)", "x.flip(-1) | x(2,3)",
                  "flip(x, axis=0) | x(0,3)"),
         example="'flip(x, 0)' x='[1, 2, 3]' --seed '[1, 10, 100]' -> x = [100, 10, 1]")
composed("flip(x)", torch="", vjp={"x": "flip(g)"}, note="NumPy's, along all dimensions",
         ref="""for i in range(x.ndim):
                    x = flip(x, i)
                x""", samples="flip(x) | x(2,3)",
         example="'flip(x)' x='[[1, 2], [3, 4]]' --seed '[[1, 2], [3, 4]]' -> x = [[4, 3], [2, 1]]")
movement("fliplr(x)", vjp={"x": "fliplr(g)"}, samples="fliplr(x) | x(2,3)",
         example="'fliplr(x)' x='[[1, 2]]' --seed '[[3, 4]]' -> x = [[4, 3]]")
movement("flipud(x)", vjp={"x": "flipud(g)"}, samples=("flipud(x) | x(2,3)", "flipud(x) | x(3)"),
         example="'flipud(x)' x='[1, 2]' --seed '[3, 4]' -> x = [4, 3]")
movement("roll(x, shifts|shift: ints, dim|dims: axes = None)", torch="roll(x, shifts, dims=dim)",
         numpy="roll(x, shifts, axis=dim)", vjp={"x": "accumulate(g, roll(positions(x), shifts, dim), x)"},
         samples=("roll(x, 1) | x(2,3)", "roll(x, -1, 1) | x(2,3)", "roll(x, (1, 2), (0, 1)) | x(2,3)",
                  "roll(x, 5, 0) | x(3)"),
         example="'roll(x, 1)' x='[1, 2, 3]' --seed '[1, 10, 100]' -> x = [10, 100, 1]")
movement("rot90(x, k: int = 1, dims|axes: axes = (0, 1))", torch="rot90(x, k, dims)",
         numpy="rot90(x, k, dims)", vjp={"x": "rot90(g, -k, dims)"},
         samples=("rot90(x) | x(2,3)", "rot90(x, 2) | x(2,3)", "rot90(x, -1, (1, 2)) | x(2,3,4)"),
         example="'rot90(x)' x='[[1, 2]]' --seed '[[3], [4]]' -> x = [[4, 3]]")

# ---- copies ------------------------------------------------------------------------------------------------
movement("expand(x, *shape: shape)", torch="Tensor.expand(x, shape)", numpy="kernels.expand(x, shape)",
         jax="broadcast_to(x, y.shape)", size=_SIZE, vjp={"x": "g"},
         samples=("expand(x, (3, 4)) | x(3,1)", "x.expand(2, -1, 3) | x(4,1)", "x.expand(-1, 3) | x(2,1)",
                  "x.expand(2) | x()"),
         example="'x.expand(3, 2)' x='[1, 2]' --seed '[[1, 2], [3, 4], [5, 6]]' -> x = [9, 12]")
movement("expand_as(x, other: constant)", torch="Tensor.expand_as", numpy="kernels.expand_as",
         jax="broadcast_to(x, y.shape)", vjp={"x": "g"},
         samples="expand_as(x, zeros(2, 3)) | x(2,1)",
         example="'expand_as(x, ones(2, 2))' x='[1, 2]' --seed '[[1, 2], [3, 4]]' -> x = [4, 6]")
movement("broadcast_to(x, *shape|size: shape)", torch="broadcast_to(x, shape)",
         numpy="broadcast_to(x, shape)", size=_SIZE, vjp={"x": "g"},
         samples=("broadcast_to(x, (2, 3)) | x(3)", "broadcast_to(x, (2, 3)) | x(2,1)"),
         example="'broadcast_to(x, (2, 2))' x='[1, 2]' --seed '[[1, 2], [3, 4]]' -> x = [4, 6]")
movement("repeat(x, *sizes|repeats: shape)", torch="Tensor.repeat(x, sizes)",
         numpy="tile(x, sizes)", size=_COPIES,
         vjp={"x": "accumulate(g, repeat(positions(x), sizes), x)"},
         note="torch's: copies of the whole, NumPy's tile; NumPy's repeat is repeat_interleave (or repeat "
              "with axis=)",
         samples=("x.repeat(2, 3) | x(2)", "repeat(x, (2, 1)) | x(2,3)"),
         example="'x.repeat(2)' x='[1, 2]' --seed '[1, 2, 3, 4]' -> x = [4, 6]")
movement("tile(x, *sizes|dims|reps: shape)", torch="tile(x, sizes)", numpy="tile(x, sizes)", size=_COPIES,
         vjp={"x": "accumulate(g, tile(positions(x), sizes), x)"},
         samples=("tile(x, (2,)) | x(2,3)", "tile(x, (2, 1, 2)) | x(2,3)"),
         example="'tile(x, 2)' x='[1, 2]' --seed '[1, 2, 3, 4]' -> x = [4, 6]")
movement("repeat_interleave(x, repeats: indices, dim: axis = None)", aliases="repeat",
         torch="repeat_interleave(x, repeats, dim=dim)", numpy="repeat(x, repeats, axis=dim)",
         size="numel(x) * int(repeats) if repeats.ndim == 0 else numel(x) // max(1, numel(repeats)) * "
              "int(sum(repeats))",
         vjp={"x": "accumulate(g, repeat_interleave(positions(x), repeats, dim), x)"},
         samples=("repeat_interleave(x, 2) | x(2,3)", "repeat_interleave(x, 2, 1) | x(2,3)",
                  "repeat_interleave(x, [1, 0, 2], dim=-1) | x(2,3)"),
         example="'repeat_interleave(x, 2)' x='[1, 2]' --seed '[1, 2, 3, 4]' -> x = [3, 7]")
several("meshgrid(*tensors, indexing: text = 'ij')", count="len(tensors)",
        part="""y = tensors[i]
                for j in range(i):
                    y = unsqueeze(y, 0)
                for j in range(len(tensors) - 1 - i):
                    y = unsqueeze(y, -1)
                for j in range(len(tensors)):
                    y = repeat_interleave(y, numel(tensors[j]), j) if j != i else y
                transpose(y, 0, 1) if indexing == 'xy' else y""",
        samples=("meshgrid(a, b)[0] | a(2) b(3)", "meshgrid(a, b, indexing='xy')[1] | a(2) b(3)"),
        example="'meshgrid(x, ones(2))[0]' x='[1, 2]' --seed '[[1, 2], [3, 4]]' -> x = [3, 7]")

# ---- joined and taken apart --------------------------------------------------------------------------------
movement("cat(tensors|arrays: tensors, dim: axis = 0)", aliases="concat concatenate",
         torch="cat(tensors, dim=dim)", numpy="concatenate(tensors, axis=dim)",
         vjp={"tensors": "parted(g, tensors, dim)"},
         samples=("cat([a, b]) | a(2,3) b(1,3)", "cat((a, b), -1) | a(2,3) b(2,2)",
                  "cat([a, a, b], dim=0) | a(2) b(0)"),
         example="'cat([a, b])' a='[1, 2]' b='[3]' --seed '[4, 5, 6]' -> a = [4, 5]; b = [6]")
movement("stack(tensors|arrays: tensors, dim: newaxis = 0)", torch="stack(tensors, dim=dim)",
         numpy="stack(tensors, axis=dim)", vjp={"tensors": "unbind(g, dim)"},
         samples=("stack([a, b]) | a(2,3) b(2,3)", "stack((a, b), -1) | a(2) b(2)",
                  "stack([a, b]) | a() b()"),
         example="'stack([a, b])' a='[1, 2]' b='[3, 4]' --seed '[[5, 6], [7, 8]]' -> a = [5, 6]; b = [7, 8]")
movement("hstack(tensors: tensors)", torch="hstack(tensors)", numpy="hstack(tensors)",
         vjp={"tensors": "parted(g, tensors, 0) if g.ndim == 1 else parted_columns(g, tensors)"},
         samples=("hstack([a, b]) | a(2) b(3)", "hstack([a, b]) | a(2,1) b(2,3)"),
         example="'hstack([a, b])' a='[1, 2]' b='[3]' --seed '[4, 5, 6]' -> a = [4, 5]; b = [6]")
movement("vstack(tensors: tensors)", aliases="row_stack", torch="vstack(tensors)", numpy="vstack(tensors)",
         vjp={"tensors": "parted_rows(g, tensors)"},
         samples=("vstack([a, b]) | a(3) b(3)", "vstack([a, b]) | a(2,3) b(3)"),
         example="'vstack([a, b])' a='[1, 2]' b='[3, 4]' --seed '[[5, 6], [7, 8]]' -> a = [5, 6]; b = [7, 8]")
movement("dstack(tensors: tensors)", torch="dstack(tensors)", numpy="dstack(tensors)",
         vjp={"tensors": "parted_layers(g, tensors)"},
         samples=("dstack([a, b]) | a(3) b(3)", "dstack([a, b]) | a(2,3,2) b(2,3)"),
         example="'dstack([a, b])' a='[1]' b='[2]' --seed '[[[3, 4]]]' -> a = [3]; b = [4]")
movement("column_stack(tensors: tensors)", torch="column_stack(tensors)", numpy="column_stack(tensors)",
         vjp={"tensors": "parted_columns(g, tensors)"},
         samples=("column_stack([a, b]) | a(3) b(3)", "column_stack([a, b]) | a(2,3) b(2)"),
         example="'column_stack([a, b])' a='[1]' b='[2]' --seed '[[3, 4]]' -> a = [3]; b = [4]")
several("split(x, size|split_size|split_size_or_sections: int, dim: axis = 0)",
        count="max(1, -(-x.shape[dim] // size))",
        part="narrow(x, dim, i * size, min(size, x.shape[dim] - i * size))",
        note="torch's: pieces of that size (NumPy's whole number is how many pieces: tensor_split)",
        samples=("split(x, 2)[1] | x(5,3)", "x.split(2, -1)[0] | x(2,3)"),
        example="'split(x, 2)[0]' x='[1, 2, 3]' --seed '[4, 5]' -> x = [4, 5, 0]")
several("split(x, sizes|split_size_or_sections: ints, dim: axis = 0)", aliases="split_with_sizes",
        count="len(sizes)",
        part="""start = 0
                for j in range(i):
                    start += sizes[j]
                narrow(x, dim, start, sizes[i])""",
        samples=("split(x, [1, 4])[1] | x(5,3)", "split(x, [1, 2], dim=1)[0] | x(2,3)"),
        example="'split(x, [1, 2])[1]' x='[1, 2, 3]' --seed '[4, 5]' -> x = [0, 4, 5]")
several("chunk(x, chunks: int, dim: axis = 0)",
        count="max(1, -(-x.shape[dim] // max(1, -(-x.shape[dim] // chunks))))",
        part="n = x.shape[dim]; size = -(-n // chunks); narrow(x, dim, i * size, min(size, n - i * size))",
        samples=("chunk(x, 2)[1] | x(5,3)", "x.chunk(3, dim=-1)[2] | x(2,6)"),
        example="'chunk(x, 2)[0]' x='[1, 2, 3]' --seed '[4, 5]' -> x = [4, 5, 0]")
several("tensor_split(x, sections|indices_or_sections: int, dim: axis = 0)", aliases="array_split",
        count="sections",
        part="""n = x.shape[dim]
                size = n // sections
                more = n % sections
                narrow(x, dim, i * size + min(i, more), size + (1 if i < more else 0))""",
        samples=("tensor_split(x, 3)[0] | x(7)", "tensor_split(x, 3)[2] | x(7)"),
        example="'tensor_split(x, 2)[1]' x='[1, 2, 3]' --seed '[4]' -> x = [0, 0, 4]")
several("unbind(x, dim: axis = 0)", count="x.shape[dim]", part="select(x, dim, i)",
        samples=("unbind(x)[1] | x(2,3)", "x.unbind(-1)[0] | x(2,3)"),
        example="'unbind(x)[1]' x='[1, 2]' -> x = [0, 1]")

# ---- elements chosen ---------------------------------------------------------------------------------------
family("Indexing", source="the transpose of choosing elements is adding to them")
movement("getitem(x, index: index)", torch="operator.getitem(x, index)", numpy="kernels.getitem(x, index)",
         hidden=True, vjp={"x": "accumulate(g, positions(x)[index], x)"},
         samples=("x[0] | x(2,3)", "x[:, 1:] | x(2,3)", "x[..., None, -1] | x(2,3)", "x[[0, 0, 1]] | x(2,3)",
                  "x[::-1, ::2] | x(3,4)", "x[[0, 1], [1, 2]] | x(2,3)", "x[0, :, [0, 1]] | x(2,3,4)",
                  "x[x > 0] | x(2,3)", "x[1:1] | x(3)", "x[:, [True, False, True]] | x(2,3)",
                  "x[None, [0, 1], :, [0, 1]] | x(2,3,4)", "x[tensor([[0, 1], [1, 1]])] | x(2,3)"),
         example="'x[[0, 0, 2]]' x='[1, 2, 3]' --seed '[1, 10, 100]' -> x = [11, 0, 100]")
movement("select(x, dim: axis, index: int)", torch="select(x, dim, index)", numpy="take(x, index, axis=dim)",
         vjp={"x": "accumulate(g, select(positions(x), dim, index), x)"},
         samples=("select(x, 1, -1) | x(2,3)", "select(x, 0, 0) | x(3)"),
         example="'select(x, 0, 1)' x='[1, 2]' -> x = [0, 1]")
movement("narrow(x, dim: axis, start: int, length: int)", torch="narrow(x, dim, start, length)",
         numpy="kernels.narrow", vjp={"x": "accumulate(g, narrow(positions(x), dim, start, length), x)"},
         samples=("narrow(x, 0, 1, 2) | x(4,2)", "narrow(x, -1, 0, 1) | x(2,3)", "narrow(x, 0, 1, 0) | x(3)",
                  "narrow(x, 0, -2, 1) | x(3)"),
         example="'narrow(x, 0, 1, 2)' x='[1, 2, 3]' --seed '[4, 5]' -> x = [0, 4, 5]")
movement("unfold(x, dimension|dim: axis, size: int, step: int)",
         torch="Tensor.unfold(x, dimension, size, step)", numpy="kernels.unfold",
         vjp={"x": "accumulate(g, unfold(positions(x), dimension, size, step), x)"},
         samples=("x.unfold(0, 2, 1) | x(5)", "x.unfold(-1, 3, 2) | x(2,7)", "x.unfold(0, 2, 2) | x(4,3)"),
         example="'x.unfold(0, 2, 1)' x='[1, 2, 3]' --seed '[[1, 2], [3, 4]]' -> x = [1, 5, 4]")
movement("index_select(x, dim: axis, index: indices)", torch="index_select(x, dim, index)",
         numpy="take(x, index, axis=dim)",
         vjp={"x": "accumulate(g, index_select(positions(x), dim, index), x)"},
         samples=("index_select(x, 0, [1, 1, 0]) | x(2,3)", "index_select(x, -1, tensor([0, 2])) | x(2,3)"),
         example="'index_select(x, 0, [1, 1])' x='[1, 2]' --seed '[3, 4]' -> x = [0, 7]")
movement("take(x, index|indices: indices)", numpy="take",
         vjp={"x": "accumulate(g, take(positions(x), index), x)"},
         samples=("take(x, [0, 2, 5, 0]) | x(2,3)", "take(x, [[0, 1], [1, 2]]) | x(3)"),
         example="'take(x, [0, 3])' x='[[1, 2], [3, 4]]' --seed '[5, 6]' -> x = [[5, 0], [0, 6]]")
movement("take(x, index|indices: indices, dim: axis)", torch="index_select(x, dim, index)",
         numpy="take(x, index, axis=dim)",
         vjp={"x": "accumulate(g, index_select(positions(x), dim, index), x)"},
         note="NumPy's take with axis", samples="take(x, [0, 2], axis=1) | x(2,3)",
         example="'take(x, [1, 1], axis=0)' x='[1, 2]' --seed '[3, 4]' -> x = [0, 7]")
movement("gather(x, dim: axis, index: indices)", torch="gather(x, dim, index)",
         numpy="kernels.gather(x, dim, index)",
         vjp={"x": "accumulate(g, gather(positions(x), dim, index), x)"},
         samples=("gather(x, 1, [[0, 0], [1, 2]]) | x(2,3)", "gather(x, 0, [[0, 1, 0]]) | x(2,3)",
                  "x.gather(0, [2, 2]) | x(3)"),
         example="'gather(x, 1, [[0, 0], [1, 0]])' x='[[1, 2], [3, 4]]' --seed '[[1, 2], [3, 4]]' "
                 "-> x = [[3, 0], [4, 3]]")
movement("take_along_dim(x, indices: indices, dim: axis = None)", aliases="take_along_axis",
         torch="take_along_dim(x, indices, dim=dim)", numpy="take_along_axis(x, indices, axis=dim)",
         vjp={"x": "accumulate(g, take_along_dim(positions(x), indices, dim), x)"},
         samples=("take_along_dim(x, [[0], [2]], 1) | x(2,3)", "take_along_dim(x, [4, 0]) | x(2,3)",
                  "take_along_dim(x, argsort(x), -1) | x(2,3)"),
         example="'take_along_dim(x, [1, 1])' x='[1, 2]' --seed '[3, 4]' -> x = [0, 7]")
movement("masked_select(x, mask: constant)", numpy="kernels.masked_select",
         vjp={"x": "accumulate(g, masked_select(positions(x), mask), x)"},
         samples=("masked_select(x, x > 0) | x(2,3)",
                  "masked_select(x, tensor([True, False, True])) | x(2,3)"),
         example="'masked_select(x, x > 1)' x='[1, 2, 3]' --seed '[4, 5]' -> x = [0, 4, 5]")
array("scatter(x, dim: axis, index: indices, value|src: number)", torch="scatter(x, dim, index, value)",
      complex="numpy", numpy="kernels.scatter(x, dim, index, value)", mixes="moves",
      vjp={"x": "scatter(g, dim, index, 0)"},
      samples=("scatter(x, 1, [[0], [2]], 5) | x(2,3)", "scatter(x, 0, [1], -1) | x(3)"),
      example="'scatter(x, 0, [1], 9)' x='[1, 2]' --seed '[3, 4]' -> x = [3, 0]")
array("scatter(x, dim: axis, index: indices, src)", torch="scatter(x, dim, index, src)", complex="numpy",
      numpy="kernels.scatter(x, dim, index, src)", mixes="moves",
      note="where two elements go to one place, torch's choice is arbitrary",
      vjp={"x": "scatter(g, dim, index, 0)", "src": "gather(g, dim, index)"},
      samples=("scatter(x, 1, [[0], [2]], s) | x(2,3) s(2,1)", "scatter(x, 0, [2, 0], s) | x(3) s(2)"),
      example="'scatter(x, 0, [1], s)' x='[1, 2]' s='[5]' --seed '[3, 4]' -> x = [3, 0]; s = [4]")
array("scatter_add(x, dim: axis, index: indices, src)", torch="scatter_add(x, dim, index, src)",
      complex="numpy", numpy="kernels.scatter_add(x, dim, index, src)",
      mixes="adds kernels.gather(y, dim, index)",
      vjp={"x": "g", "src": "gather(g, dim, index)"},
      samples=("scatter_add(x, 1, [[0, 0], [2, 1]], s) | x(2,3) s(2,2)",
               "scatter_add(x, 0, [2, 2], s) | x(3) s(2)"),
      example="'scatter_add(x, 0, [1, 1], s)' x='[1, 2]' s='[5, 6]' --seed '[3, 4]' -> x = [3, 4]; "
              "s = [4, 4]")
array("index_add(x, dim: axis, index: indices, source, alpha: number = 1)",
      torch="index_add(x, dim, index, source, alpha=alpha)",
      numpy="kernels.index_add(x, dim, index, source, alpha)", complex="numpy",
      mixes="adds take(y, index, axis=dim)",
      vjp={"x": "g", "source": "alpha * index_select(g, dim, index)"},
      samples=("index_add(x, 0, [1, 1], s) | x(3,2) s(2,2)",
               "index_add(x, 1, [0, 2], s, alpha=2) | x(2,3) s(2,2)"),
      example="'index_add(x, 0, [1, 1], s)' x='[1, 2]' s='[5, 6]' --seed '[3, 4]' -> x = [3, 4]; s = [4, 4]")
array("index_copy(x, dim: axis, index: indices, source)", torch="index_copy(x, dim, index, source)",
      complex="numpy", numpy="kernels.index_copy(x, dim, index, source)", mixes="moves",
      vjp={"x": "index_fill(g, dim, index, 0)", "source": "index_select(g, dim, index)"},
      samples=("index_copy(x, 0, [2, 0], s) | x(3,2) s(2,2)",),
      example="'index_copy(x, 0, [1], s)' x='[1, 2]' s='[5]' --seed '[3, 4]' -> x = [3, 0]; s = [4]")
array("index_fill(x, dim: axis, index: indices, value: number)", torch="index_fill(x, dim, index, value)",
      complex="numpy", numpy="kernels.index_copy(x, dim, index, value)", mixes="moves",
      vjp={"x": "index_fill(g, dim, index, 0)"}, samples=("index_fill(x, 1, [0, 2], 4) | x(2,3)",),
      example="'index_fill(x, 0, [1], 9)' x='[1, 2]' --seed '[3, 4]' -> x = [3, 0]")
array("pad(x, pad|pad_width: ints, mode: text = 'constant', value: number = 0)",
      torch="nn.functional.pad(x, pad, mode=mode, value=value)", numpy="kernels.pad", complex="numpy",
      mixes="moves",
      note="pairs from the last dimension back, as in torch",
      vjp={"x": "accumulate(g, pad(positions(x), pad, mode, -1), x)"},
      samples=("pad(x, (1, 2)) | x(3)", "pad(x, (1, 0, 0, 2), value=3) | x(2,3)", "pad(x, (-1, 1)) | x(3)",
               "pad(x, (2, 1), mode='reflect') | x(2,4)", "pad(x, (2, 1), mode='replicate') | x(2,4)",
               "pad(x, (2, 1, 1, 1), mode='circular') | x(1,2,4)"),
      size="""n = 1
              for i in range(x.ndim):
                  m = x.shape[x.ndim - 1 - i]
                  m = m + pad[2 * i] + pad[2 * i + 1] if 2 * i + 1 < len(pad) else m
                  n = n * max(m, 1)
              n""",
      example="'pad(x, (1, 1))' x='[1, 2]' --seed '[1, 2, 3, 4]' -> x = [2, 3]")
composed("diff(x, n: int = 1, dim: axis = -1)", torch="diff",
         vjp={"x": """for i in range(n):
                          z = 0 * narrow(x, dim, 0, 1)
                          g = cat([z, g], dim) - cat([g, z], dim)
                      g"""},
         ref="""for i in range(n):
                    m = x.shape[dim] - 1
                    x = narrow(x, dim, 1, m) - narrow(x, dim, 0, m)
                x""",
         samples=("diff(x) | x(4)", "diff(x, dim=0) | x(3,2)", "diff(x, 2) | x(2,4)"),
         example="'diff(x)' x='[1, 2, 4]' --seed '[1, 10]' -> x = [-1, -9, 10]")

# ---- sorted ------------------------------------------------------------------------------------------------
_TIES = "diff(take_along_dim(x, argsort(x, dim), dim), dim=dim) == 0 if x.ndim else False"
array("argsort(x, dim: axis = -1, descending: flag = False, stable: flag = True)", complex="constant",
      torch="argsort(x, dim=dim, descending=descending, stable=stable)",
      numpy="kernels.argsort(x, dim, descending)",
      samples=("argsort(x) | x(2,3)", "argsort(x, 0, descending=True) | x(3,2)"), kinks=_TIES,
      convention="a constant",
      example="'x[argsort(x)]' x='[3, 1, 2]' --seed '[1, 10, 100]' -> x = [100, 1, 10]")
composed("sort_values(x, dim: axis, descending: flag)",
         torch="sort(x, stable=True, dim=dim, descending=descending).values", hidden=True,
         ref="take_along_dim(x, argsort(x, dim, descending), dim) if x.ndim else x",
         vjp={"x": "accumulate(g, take_along_dim(positions(x), argsort(x, dim, descending), dim), x) if "
                   "x.ndim else g"})
several("sort(x, dim: axis = -1, descending: flag = False, stable: flag = True)", kinks=_TIES,
        fields={"values": "sort_values(x, dim, descending)", "indices": "argsort(x, dim, descending)"},
        convention="equal elements keep their order, and each its own part of g",
        samples=("sort(x).values | x(2,3)", "sort(x, 0, descending=True)[0] | x(3,2)", "sort(x)[0] | x(1)"),
        example="'sort(x).values' x='[3, 1, 2]' --seed '[1, 10, 100]' -> x = [100, 1, 10]")
composed("msort(x)", ref="sort(x, 0).values", kinks="diff(take_along_dim(x, argsort(x, 0), 0), dim=0) == 0",
         vjp={"x": "accumulate(g, take_along_dim(positions(x), argsort(x, 0), 0), x)"},
         samples="msort(x) | x(3,2)",
         example="'msort(x)' x='[3, 1, 2]' --seed '[1, 10, 100]' -> x = [100, 1, 10]")
array("topk_indices(x, k: int, dim: axis, largest: flag)",
      torch="topk(x, k, dim=dim, largest=largest).indices", complex="constant",
      numpy="kernels.topk_indices(x, k, dim, largest)", hidden=True)
composed("topk_values(x, k: int, dim: axis, largest: flag)",
         torch="topk(x, k, dim=dim, largest=largest).values", hidden=True,
         ref="take_along_dim(x, topk_indices(x, k, dim, largest), dim)",
         vjp={"x": "accumulate(g, take_along_dim(positions(x), topk_indices(x, k, dim, largest), dim), x)"})
several("topk(x, k: int, dim: axis = -1, largest: flag = True, sorted: flag = True)", kinks=_TIES,
        fields={"values": "topk_values(x, k, dim, largest)", "indices": "topk_indices(x, k, dim, largest)"},
        samples=("topk(x, 2).values | x(2,4)", "topk(x, 1, dim=0, largest=False)[0] | x(3,2)"),
        example="'topk(x, 2).values' x='[3, 1, 2]' --seed '[1, 10]' -> x = [1, 0, 10]")
array("kthvalue_indices(x, k: int, dim: axis, keepdim: flag)", torch="kthvalue(x, k, dim, keepdim).indices",
      complex="constant", numpy="kernels.kthvalue_indices(x, k, dim, keepdim)", hidden=True)
composed("kthvalue_values(x, k: int, dim: axis, keepdim: flag)", torch="kthvalue(x, k, dim, keepdim).values",
         hidden=True,
         ref="""y = take_along_dim(x, kthvalue_indices(x, k, dim, True), dim)
                y if keepdim else squeeze(y, dim)""",
         vjp={"x": """p = take_along_dim(positions(x), kthvalue_indices(x, k, dim, True), dim)
                      accumulate(reshape(g, p.shape), p, x)"""})
several("kthvalue(x, k: int, dim: axis = -1, keepdim: flag = False)", kinks=_TIES,
        fields={"values": "kthvalue_values(x, k, dim, keepdim)",
                "indices": "kthvalue_indices(x, k, dim, keepdim)"},
        samples=("kthvalue(x, 2).values | x(2,4)", "kthvalue(x, 1, 0, True)[0] | x(3,2)"),
        example="'kthvalue(x, 2).values' x='[3, 1, 2]' -> x = [0, 0, 1]")

# ---- the same elements -------------------------------------------------------------------------------------
family("Copies and dtypes")
array("detach(x)", aliases="stop_gradient", numpy="array", frozen=True, complex="constant",
      note="a constant from here on: no gradient flows through", samples="x * detach(x) | x(2,3)",
      example="'x * detach(x)' x=3 -> x = 3")
movement("clone(x)", aliases="copy contiguous conj real", torch="clone", numpy="array", vjp={"x": "g"},
         samples="clone(x) | x(2,3)", example="'clone(x)' x=3 -> x = 1")
for _name, _aliases in [("double", "float64"), ("float", "float32"), ("half", "float16")]:
    elementwise(f"{_name}(x)", aliases=_aliases, torch=f"Tensor.{_name}", numpy="kernels.as_float",
                jax="float64", numexpr="(x)", complex="numexpr",
                note=f"torch rounds to {_aliases}; the reference stays in float64", vjp={"x": "g"},
                samples="double(x) | x(2,3)" if _name == "double" else f"{_name}(x > 0) | x(2,3)",
                example=f"'{_name}(x)' x=3 -> x = 1")
array("long(x)", aliases="int64", torch="Tensor.long", numpy="kernels.as_int", jax="int64",
      complex="constant", kinks="x == trunc(x)", note="whole numbers: a constant",
      samples="long(x) | x(2,3)", example="'x * long(x)' x=2.5 -> x = 2")
array("bool(x)", torch="Tensor.bool", numpy="kernels.as_bool", jax="bool_", complex="constant",
      kinks="x == 0", note="a mask: a constant",
      samples="bool(x) | x(2,3)", example="'x * bool(x)' x=2.5 -> x = 1")
composed("to(x, dtype: dtype)", aliases="astype type", torch="", vjp={"x": "g"},
         samples="to(x, 'float64') | x(2,3)",
         ref="""if dtype == 'float64':
                    x = double(x)
                elif dtype == 'float32':
                    x = float(x)
                elif dtype == 'float16':
                    x = half(x)
                elif dtype == 'bool':
                    x = bool(x)
                else:
                    x = long(x)
                x""",
         example="'x.to(torch.float64)' x=3 -> x = 1")
