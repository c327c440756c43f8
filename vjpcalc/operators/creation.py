"""Constants that an expression makes: NumPy makes them for both engines, so that both hold the same numbers.

``size`` is read before anything is made.
"""

from vjpcalc.operators.registry import array, composed, creation, family

# fmt: off
family("Creation")
for _name, _numpy, _example, _note in [
    ("zeros", "zeros(shape, dtype=dtype)", "'x * zeros(1)' x=2 --seed '[1]' -> x = 0", ""),
    ("ones", "ones(shape, dtype=dtype)", "'x * ones(2)' x=2 --seed '[1, 1]' -> x = 2", ""),
    ("empty", "zeros(shape, dtype=dtype)", "'x * empty(1)' x=2 --seed '[1]' -> x = 0", "zeros"),
    ("rand", "random.random(shape)", "'x + rand(1)' x=2 --seed '[1]' -> x = 1",
     "uniform on [0, 1); --random-seed chooses the stream"),
    ("randn", "random.standard_normal(shape)", "'x + randn(1)' x=2 --seed '[1]' -> x = 1",
     "standard normal; --random-seed chooses the stream"),
]:
    creation(f"{_name}(*shape|size: shape, dtype: dtype = None)", numpy=_numpy, size="shape", note=_note,
             samples=(f"{_name}(2, 3) * x | x(2,3)", f"{_name}((0, 2)) + x | x(2)"), example=_example)
creation("full(shape|size: shape, value|fill_value: number, dtype: dtype = None)",
         numpy="full(shape, value, dtype=dtype)", size="shape",
         samples=("full((2, 3), 0.5) * x | x(3)", "full((), 2) * x | x(3)"),
         example="'x * full((2,), 3)' x=2 --seed '[1, 1]' -> x = 6")
creation("eye(n: int, m: int = None, dtype: dtype = None)", aliases="identity",
         numpy="eye(n, m, dtype=dtype)", size="(n, n if m == None else m)",
         samples=("eye(3) @ x | x(3)", "eye(2, 3) @ x | x(3)"),
         example="'eye(2) @ x' x='[1, 2]' --seed '[3, 4]' -> x = [3, 4]")
creation("arange(start: number, end|stop: number = None, step: number = 1, dtype: dtype = None)",
         numpy="arange(start, end, step, dtype=dtype)",
         size="int(abs((start if end == None else end - start) / step)) + 1",
         note="whole numbers make whole numbers (a constant to index with); they are promoted where they "
              "meet others",
         samples=("arange(3) * x | x(3)", "arange(1, 2, 0.5) * x | x(2)", "x[arange(2)] | x(3)"),
         example="'arange(3) * x' x='[1, 1, 1]' --seed '[1, 1, 1]' -> x = [0, 1, 2]")
creation("linspace(start: number, end|stop: number, steps|num: int = 50, dtype: dtype = None)",
         numpy="linspace(start, end, steps)", size="steps",
         samples=("linspace(0, 1, 5) * x | x(5)", "linspace(-1, 1, steps=1) * x | x(1)"),
         example="'linspace(0, 1, 3) * x' x='[1, 1, 1]' --seed '[1, 1, 1]' -> x = [0, 0.5, 1]")
creation("logspace(start: number, end|stop: number, steps|num: int = 50, base: number = 10, "
         "dtype: dtype = None)",
         numpy="logspace(start, end, steps, base=base)", size="steps",
         samples="logspace(-1, 1, 3) * x | x(3)",
         example="'logspace(0, 2, 3) * x' x='[1, 1, 1]' --seed '[1, 1, 1]' -> x = [1, 10, 100]")
creation("randint(low: int, high: int, size: shape, dtype: dtype = None)",
         numpy="random.integers(low, high, size=size)", size="size",
         note="whole numbers; --random-seed chooses the stream", samples="x[randint(0, 3, (2,))] | x(3)",
         example="'x * randint(1, 2, (1,))' x=5 --seed '[1]' -> x = 1")
creation("randint(high: int, size: shape, dtype: dtype = None)", numpy="random.integers(high, size=size)",
         size="size", samples="x[randint(3, (2,))] | x(3)",
         example="'x * randint(1, (1,))' x=5 --seed '[1]' -> x = 0")
for _name, _aliases in [("zeros_like", "empty_like"), ("ones_like", "")]:
    array(f"{_name}(x)", aliases=_aliases, complex="constant", frozen=True,
          samples=f"{_name}(x) + x | x(2,3)", example=f"'x + {_name}(x)' x=2 -> x = 1")
array("full_like(x, value|fill_value: number)", torch="full_like(x, value)", numpy="full_like(x, value)",
      complex="constant", frozen=True, samples="full_like(x, 2) * x | x(2,3)",
      example="'x * full_like(x, 3)' x=2 -> x = 3")
for _name in ["rand", "randn"]:
    composed(f"{_name}_like(x)", torch="", ref=f"{_name}(x.shape)", frozen=True,
             samples=f"{_name}_like(x) * x | x(2,3)", example=f"'x + {_name}_like(x)' x=2 -> x = 1")
composed("tensor(data|object: indices, dtype: dtype = None)", aliases="array asarray as_tensor", torch="",
         ref="data if dtype == None else to(data, dtype)",
         note="a list of numbers, or of tensors of one shape; whole numbers stay whole, to index with",
         samples=("tensor([1, 2, 3]) * x | x(3)", "tensor([x[0], 2.5, x[1]]) | x(2)",
                  "x[tensor([0, 1])] | x(3)"),
         example="'tensor([1.5, 2]) * x' x='[1, 1]' --seed '[1, 1]' -> x = [1.5, 2]")
array("one_hot(x: indices, num_classes: int = -1)", torch="nn.functional.one_hot", numpy="kernels.one_hot",
      complex="constant", frozen=True, size="numel(x) * max(num_classes, 1)",
      samples=("sum(one_hot([0, 2, 1], 4) * x, -1) | x(4)", "one_hot(tensor([0, 1])) * x | x(2)"),
      example="'one_hot([0, 1], 2) * x' x='[3, 4]' --seed '[[1, 1], [1, 1]]' -> x = [1, 1]")
