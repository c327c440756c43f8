"""Inputs and seeds as they are typed: what each means, and how each mistake is shown."""

import io
import json
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjpcalc.diagnostics import Diagnostic, ExitStatus
from vjpcalc.job.arguments import Item, Reader, parse_input, parse_inputs, parse_seed, split_key
from vjpcalc.language.source import render
from vjpcalc.limits import Limits
from vjpcalc.tensors.dtypes import ALIASES, DTYPES, canonical
from vjpcalc.tensors.files import write
from vjpcalc.tensors.json import from_list, to_list, to_record


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text, **options):
    return Reader(**options).read(parse_input(text))


# ---- what is meant -----------------------------------------------------------------------------------------

VALUES = [
    ("x=-3", -3, "float64"),
    ("x=1e-3", 0.001, "float64"),
    ("x=[1, 2, 3]", [1, 2, 3], "float64"),
    ("x = [[1, 2],\n [3, 4]]", [[1, 2], [3, 4]], "float64"),
    ("x=[]", [], "float64"),
    ("x=[[], []]", [[], []], "float64"),
    ('x=["NaN", 1, "-Infinity"]', [np.nan, 1, -np.inf], "float64"),
    ("x=[nan, 1, -inf]", [np.nan, 1, -np.inf], "float64"),
    ("x=[pi/2, 1e-3]", [np.pi / 2, 0.001], "float64"),
    ("x=(1, 2)", [1, 2], "float64"),
    ("x=.5", 0.5, "float64"),
    ("x=1_000", 1000, "float64"),
    ("x=2**0.5", 2**0.5, "float64"),
    ("x=zeros(2, 0)", [[], []], "float64"),
    ("x=y = 2; y * 3", 6, "float64"),
    ("x=[true, false]", [True, False], "bool"),
    ("x=[True, False]", [True, False], "bool"),
    ("x:bool=[0, 1]", [False, True], "bool"),
    ("x:float=[0.1]", np.float32([0.1]), "float32"),
    ("x : bf16 = 1", 1, "bfloat16"),
    ("x:torch.half=1", 1, "float16"),
    ("x:int=[0, 2]", [0, 2], "int64"),
    ("x:int=9007199254740993", 9007199254740993, "int64"),
    ("x:int=2 + 1", 3, "int64"),
    ("x:uint8=[0, 255]", [0, 255], "uint8"),
    ('x={"data": [1, 2]}', [1, 2], "float64"),
    ('x={"dtype": "int8", "shape": [1], "data": [5]}', [5], "int8"),
    ('x:f64={"dtype": "int8", "shape": [1], "data": [5]}', [5], "float64"),
]


@pytest.mark.parametrize(("text", "expected", "dtype"), VALUES, ids=[text for text, _, _ in VALUES])
def test_values(text, expected, dtype):
    tensor = Reader().inputs([text])["x"]
    assert str(tensor.dtype) == f"torch.{dtype}"
    expected = torch.as_tensor(np.array(expected)).to(tensor.dtype)
    torch.testing.assert_close(tensor, expected, rtol=0, atol=0, equal_nan=True)


def test_numbers_typed_in_have_the_default_dtype_and_others_their_own(folder):
    np.save("f.npy", np.float64([0.1]))
    (folder / "t.csv").write_text("0.1\n0.2\n")
    texts = ["a=[0.1]", "b=@f.npy", "c=@t.csv", "d=[true]", "e:f64=0.1", "f=randn(2)", "g:float16=@f.npy"]
    found = Reader(default="float32").inputs(texts)
    dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in found.items()}
    assert " ".join(f"{name}:{dtype}" for name, dtype in dtypes.items()) == (
        "a:float32 b:float64 c:float32 d:bool e:float64 f:float32 g:float16"
    )
    assert found["e"].item() == 0.1


@pytest.mark.parametrize("name", [*DTYPES, *ALIASES])
def test_every_dtype(name):
    assert getattr(torch, canonical(name)) == read(f"x:{name}=[1, 0]").tensor().dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_torchs(dtype):
    assert isinstance(getattr(torch, dtype), torch.dtype)


SEEDS = [
    ("[1, 2]", "", [1, 2]),
    ("  3", "", 3),
    ("ones(2)", "", [1, 1]),
    ("c=[1, 2]", "c", [1, 2]),
    ("c:f32=1", "c", 1),
    ("c = 2", "c", 2),
    ('{"data": [1]}', "", [1]),
    ("1 == 1", "", True),
]


@pytest.mark.parametrize(("text", "name", "expected"), SEEDS, ids=[text for text, _, _ in SEEDS])
def test_seeds(text, name, expected):
    item = parse_seed(text)
    assert (item.name, item.kind) == (name, "seed")
    assert Reader().read(item).array.tolist() == expected


def test_seeds_of_several_outputs():
    found = Reader().seeds(["c=1", "d=[1, 2]", "c=2"], ["c", "d"])
    assert {name: [one.tolist() for one in given] for name, given in found.items()} == {
        "c": [1, 2],
        "d": [[1, 2]],
    }
    assert Reader().seeds([], ["c"]) == {}


def test_parsing_touches_nothing(folder):
    item = parse_input("x:f32=@nowhere.npz:a:b")
    assert item == Item("x", "float32", "@nowhere.npz:a:b", item.source, 6)
    assert item.from_file
    assert parse_input("x=-").from_stdin
    assert parse_input("x=-:a").from_stdin
    assert not parse_input("x=-a").from_stdin


@given(st.text())
def test_any_text_is_an_item_or_a_diagnostic(text):
    for parse, kind in ((parse_input, "input"), (parse_seed, "seed")):
        try:
            item = parse(text)
        except Diagnostic as diagnostic:
            found = diagnostic
            ok = found.kind == kind and found.span is not None
        else:
            ok = text[item.start :].strip() == item.value
        assert ok


@given(st.text(alphabet="[]{}(),:.\"' \n0123456789-+*eNaInfinitytrue", max_size=20))
def test_any_value_is_a_tensor_or_a_diagnostic(value):
    try:
        found = Reader(limits=Limits(1000, 1000)).inputs([f"x={value}"])["x"]
    except Diagnostic as diagnostic:
        render(diagnostic)
    else:
        assert found.dtype in (torch.float64, torch.bool)


@given(
    st.recursive(
        st.floats(width=64) | st.integers(-(2**63), 2**63 - 1),
        lambda x: st.lists(x, min_size=1),
        max_leaves=9,
    )
)
def test_json_and_expression_agree(value):
    """A list means the same whether it is read as JSON or, with Python's spelling, as an expression."""
    try:
        array = from_list(value)
    except Diagnostic:
        return
    text = json.dumps(to_list(array))
    np.testing.assert_array_equal(read(f"x={text}").array, array)
    as_expression = text.replace('"NaN"', "nan").replace('"-Infinity"', "-inf").replace('"Infinity"', "inf")
    evaluated = read(f"x=({as_expression})").array
    np.testing.assert_array_equal(evaluated, array.astype(float))


# ---- random numbers ----------------------------------------------------------------------------------------


def test_each_input_has_random_numbers_of_its_own():
    def draw(*texts, seed=0):
        return {name: tensor.tolist() for name, tensor in Reader(random_seed=seed).inputs(texts).items()}

    both = draw("x=randn(3)", "y=randn(3)")
    assert both["x"] != both["y"]
    assert draw("y=randn(3)") == {"y": both["y"]}
    assert draw("x=randn(3)", seed=1)["x"] != both["x"]
    named, unnamed, other = (
        Reader().read(parse_seed(text)).array.tolist() for text in ["x=randn(3)", "randn(3)", "y=randn(3)"]
    )
    assert len({str(numbers) for numbers in (named, unnamed, other, both["x"], both["y"])}) == 5


def test_limits_hold_for_values():
    with pytest.raises(Diagnostic, match="the limit is 10"):
        read("x=zeros(11)", limits=Limits(100, 10))


# ---- files -------------------------------------------------------------------------------------------------


def test_files(folder):
    write("w.npz", {"a": np.float32([1]), "b": np.ones(2)})
    write("a:b.npy", {"x": np.ones(3)})
    write("with space.npy", {"x": np.ones(4)})
    write("w:1.npz", {"k:1": np.ones(5)})
    found = Reader().inputs(
        [
            "x=@w.npz:a",
            "y:f64=@w.npz:a",
            "z=@a:b.npy",
            "v=@with space.npy",
            "w=@w:1.npz:k:1",
            f"u=@{folder}/w.npz:b",
        ]
    )
    assert [tuple(tensor.shape) for tensor in found.values()] == [(1,), (1,), (3,), (4,), (5,), (2,)]
    assert (found["x"].dtype, found["y"].dtype) == (torch.float32, torch.float64)


@pytest.mark.parametrize(
    ("text", "path", "key"),
    [
        ("x.npz", "x.npz", None),
        ("x.npz:a", "x.npz", "a"),
        ("x.npz:a:b", "x.npz", "a:b"),
        ("C:/x.npz:a", "C:/x.npz", "a"),
        ("x.pt:layer.0.weight", "x.pt", "layer.0.weight"),
        ("x.dat:a", "x.dat:a", None),
        ("x.npz:", "x.npz", None),
    ],
)
def test_split_key_of_files_that_are_not_there(folder, text, path, key):
    assert split_key(text) == (path, key)


def test_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    np.save("x.npy", np.ones(2))
    assert read("x=@~/x.npy").shape == (2,)


# ---- standard input ----------------------------------------------------------------------------------------

DOCUMENT = {
    "format_version": "1.0",
    "outputs": {"out": to_record(np.array(2.0))},
    "gradients": {"h": to_record(np.float32([0.1])), "b": to_record(np.array([np.nan]))},
}


class Once(io.StringIO):
    def read(self, *arguments):
        assert not self.closed, "standard input was read twice"
        text = super().read(*arguments)
        self.close()
        return text


def test_standard_input_is_read_once_for_inputs_and_seeds():
    reader = Reader(Once(json.dumps(DOCUMENT)))
    inputs = reader.inputs(["x=-:h", "y=-:b", "z=-:outputs.out"])
    assert [tensor.dtype for tensor in inputs.values()] == [torch.float32, torch.float64, torch.float64]
    assert reader.seeds(["-:h"], ["out"])["out"][0].tolist() == inputs["x"].tolist()


def test_standard_input_is_left_alone_where_nobody_asks():
    Reader(None).inputs(["x=-3", "y=-pi"])


@pytest.mark.parametrize("text", ["[1, 2]", "\ufeff [1, 2]\n", '{"data": [1, 2]}', '{"x": [1, 2]}'])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_what_strangers_write(text, as_bytes):
    stream = io.BytesIO(text.encode()) if as_bytes else io.StringIO(text)
    assert read("x=-", stdin=stream).array.tolist() == [1, 2]


PIPES = [
    (None, "-", "standard input has been read already: it is the expression"),
    (b"", "-", "standard input is empty: JSON was expected"),
    (b"\xff\xfe", "-", "standard input is not JSON: it is not UTF-8 text"),
    (b"{}", "-", "standard input holds no tensor"),
    (b"[1", "-", "not JSON: expecting ',' delimiter"),
    (b"[1]", "-:a", "standard input holds one array and no keys"),
    (b"[1, null]", "-", "null is not a number at [1]"),
    (json.dumps(DOCUMENT).encode(), "-", "standard input holds 2 arrays: say which, -:h"),
    (json.dumps(DOCUMENT).encode(), "-:c", "standard input has no 'c'"),
    (b'{"format_version": "1.0", "error": {"message": "no good", "kind": "shape"}}', "-:h",
     "the command before in the pipe failed: no good"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "value", "message"), PIPES, ids=[message for _, _, message in PIPES])
@pytest.mark.parametrize("kind", ["input", "seed"])
def test_pipes_that_hold_something_else(content, value, message, kind):
    reader = Reader(None if content is None else io.BytesIO(content))
    item = parse_input(f"x={value}") if kind == "input" else parse_seed(value)
    with pytest.raises(Diagnostic) as caught:
        reader.read(item)
    found = caught.value
    assert (found.message, found.kind, found.status) == (message, kind, ExitStatus.INPUT)
    assert found.source is not None


# ---- mistakes, as they are shown ---------------------------------------------------------------------------

MISTAKES = {
    "x=[1,2": """
        error: '[' was never closed
          x=[1,2
            ^
    """,
    "x=[[1,2],[3]]": """
        error: a ragged list: item 0 has length 2, item 1 has length 1
          x=[[1,2],[3]]
                   ^^^
        hint: all rows of a tensor have one length
    """,
    "x=[1, null]": """
        error: null is not a number
          x=[1, null]
                ^^^^
    """,
    'x=[1, "abc"]': """
        error: the text "abc" is not a number
          x=[1, "abc"]
                ^^^^^
    """,
    "x=[NaN]": """
        error: 'NaN' has no value
          x=[NaN]
             ^^^
        hint: it is written nan
    """,
    "x=[1, y]": """
        error: 'y' has no value
          x=[1, y]
                ^
        hint: a value stands alone: it sees no other input
    """,
    "x=W.npy": """
        error: 'W' has no value
          x=W.npy
            ^
        hint: a file is written with @: x=@W.npy
    """,
    "x:flot32=1": """
        error: unknown dtype 'flot32'; did you mean 'float32'?
          x:flot32=1
            ^^^^^^
        hint: known are float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool
    """,
    "x:complex64=1": """
        error: dtype 'complex64': complex tensors are not supported
          x:complex64=1
            ^^^^^^^^^
        hint: give real and imaginary part apart
    """,
    "x:=1": """
        error: a dtype is missing after ':'
          x:=1
            ^
        hint: for example x:float32=…
    """,
    "x:int=[1, 0.5]": """
        error: 0.5 is not a whole number that fits into int64
          x:int=[1, 0.5]
                ^^^^^^^^
    """,
    "x:half=1e6": """
        error: 1000000.0 is too large for float16
          x:half=1e6
                 ^^^
    """,
    "x": """
        error: 'x' is not an input: there is no '='
          x
          ^
        hint: inputs are written NAME=VALUE: x='[1, 2, 3]', x=@x.npy, x='randn(3)'
    """,
    "x=": """
        error: 'x' has no value
          x=
           ^
        hint: inputs are written NAME=VALUE: x='[1, 2, 3]', x=@x.npy, x='randn(3)'
    """,
    "=1": """
        error: a name is missing before '='
          =1
          ^
        hint: inputs are written NAME=VALUE: x='[1, 2, 3]', x=@x.npy, x='randn(3)'
    """,
    "x==1": """
        error: '==' compares; a value is given with one '='
          x==1
           ^^
    """,
    " 2x=1": """
        error: '2x' cannot be a name: letters, digits and _ make one, and it begins with no digit
           2x=1
           ^^
        hint: call it _2x
    """,
    "a-b=1": """
        error: 'a-b' cannot be a name: letters, digits and _ make one, and it begins with no digit
          a-b=1
          ^^^
        hint: call it a_b
    """,
    "lambda=1": """
        error: 'lambda' is a word of the language and cannot be a name
          lambda=1
          ^^^^^^
        hint: call it lambda_
    """,
    "__x=1": """
        error: a name cannot begin with two underscores
          __x=1
          ^^^
    """,
    "x=@": """
        error: a file name is missing
          x=@
            ^
        hint: a file is written @FILE or @FILE:KEY; -:KEY is standard input
    """,
    "x=-:": """
        error: a key is missing
          x=-:
            ^^
        hint: a file is written @FILE or @FILE:KEY; -:KEY is standard input
    """,
    "x=@weihgts.npz": """
        error: there is no file 'weihgts.npz'; did you mean 'weights.npz'?
          x=@weihgts.npz
            ^^^^^^^^^^^^
    """,
    "x=@weights.npz": """
        error: 'weights.npz' holds 2 arrays: say which, @weights.npz:first
          x=@weights.npz
            ^^^^^^^^^^^^
        hint: it holds first, second
    """,
    "x=@weights.npz:frist": """
        error: 'weights.npz' has no 'frist'; did you mean 'first'?
          x=@weights.npz:frist
            ^^^^^^^^^^^^^^^^^^
        hint: it holds first, second
    """,
    "x=@one.npy:first": """
        error: 'one.npy' holds one array and no keys
          x=@one.npy:first
            ^^^^^^^^^^^^^^
        hint: leave ':first' out: @one.npy
    """,
    "x=@notes.md": """
        error: 'notes.md' has the ending '.md', which is unknown
          x=@notes.md
            ^^^^^^^^^
        hint: the ending says what is in a file: .npy .npz .mtx .pt .pth .safetensors .json .csv .tsv .txt
    """,
    "x=@bad.json": """
        error: not JSON: expecting ',' delimiter
          in bad.json, line 2, column 4:
          2 |  2 3]
                 ^
    """,
    'x={"data": [1}': """
        error: not JSON: expecting ',' delimiter
          x={"data": [1}
                       ^
    """,
    'x={"a": [1]}': """
        error: not a tensor: {"dtype", "shape", "data"} is expected
          x={"a": [1]}
            ^^^^^^^^^^
        hint: data holds the numbers
    """,
    "x=[1 2]": """
        error: invalid syntax; is a comma or an operator missing?
          x=[1 2]
             ^^^
    """,
    "α=zeros(2) + ones(3)": """
        error: '+' (add): the shapes (2,) and (3,) do not broadcast
          α=zeros(2) + ones(3)
            ^^^^^^^^^^^^^^^^^^
        hint: sizes are compared from the right: each pair must be equal, or one of them 1
    """,
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(folder, text):
    write("weights.npz", {"first": np.ones(1), "second": np.ones(2)})
    write("one.npy", {"x": np.ones(1)})
    (folder / "notes.md").write_text("1")
    (folder / "bad.json").write_text("[1,\n 2 3]")
    with pytest.raises(Diagnostic) as caught:
        read(text)
    assert (caught.value.kind, caught.value.status) == ("input", ExitStatus.INPUT)
    shown = render(caught.value).split("\n")
    if caught.value.source.name != "bad.json":
        del shown[1]  # "in x, line 1, column 3:"
    assert "\n".join(shown) == textwrap.dedent(MISTAKES[text]).strip()


def test_a_name_given_twice():
    with pytest.raises(Diagnostic) as caught:
        parse_inputs(["x=1", "y=2", "x=3"])
    assert caught.value.message == "'x' is given twice"
    assert caught.value.hint == "the first was x=1"


def test_names_are_compared_as_python_compares_them():
    with pytest.raises(Diagnostic, match="'fi' is given twice"):
        parse_inputs(["fi=1", "ﬁ=2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "'[' was never closed"),
        ("@nowhere.npy", "there is no file 'nowhere.npy'"),
        ("[[1], 2]", "a ragged list: item 0 has length 1, item 1 is a number"),
        ("", "the seed has no value"),
        ("c:flot=1", "unknown dtype 'flot'; did you mean 'float'?"),
        ("1", "there are several outputs: say which one this seed belongs to"),
        ("e=1", "there is no output 'e'"),
    ],
)
def test_mistakes_in_seeds(folder, text, message):
    with pytest.raises(Diagnostic) as caught:
        Reader().seeds([text], ["c", "d"] if "output" in message else ["c"])
    found = caught.value
    assert (found.message, found.kind) == (message, "seed")
    assert found.span is not None
    assert found.source is not None


def test_a_large_literal_is_not_slow_and_not_bounded_by_the_languages_limit():
    numbers = np.random.default_rng(0).standard_normal(100_000)
    text = json.dumps(numbers.tolist())
    assert (read(f"x={text}").array == numbers).all()
