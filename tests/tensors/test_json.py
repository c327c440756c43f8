"""Tensors as JSON: the record, what strict JSON cannot say, and that every number comes back."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.tensors.dtypes import DTYPES, dtype_of, to_numpy, to_torch
from vjpcalc.tensors.json import encode_number, from_json, from_record, loads, locate, shortest, to_record

RECORDS = [
    (np.array([[0.0, 4.0]]), '{"dtype": "float64", "shape": [1, 2], "data": [[0.0, 4.0]]}'),
    (np.array(-0.0), '{"dtype": "float64", "shape": [], "data": -0.0}'),
    (np.float32([0.1, 1 / 3]), '{"dtype": "float32", "shape": [2], "data": [0.1, 0.33333334]}'),
    (np.float16([0.1]), '{"dtype": "float16", "shape": [1], "data": [0.1]}'),
    (np.float32(3.4028235e38), '{"dtype": "float32", "shape": [], "data": 3.4028235e+38}'),
    (np.array([np.inf, -np.inf]), '{"dtype": "float64", "shape": [2], "data": ["Infinity", "-Infinity"]}'),
    (np.array(np.nan), '{"dtype": "float64", "shape": [], "data": "NaN"}'),
    (np.array([complex(0, np.inf)]), '{"dtype": "complex128", "shape": [1], "data": [[0.0, "Infinity"]]}'),
    (np.zeros((2, 0)), '{"dtype": "float64", "shape": [2, 0], "data": [[], []]}'),
    (np.zeros((0, 3)), '{"dtype": "float64", "shape": [0, 3], "data": []}'),
    (np.array([2**53 + 1]), '{"dtype": "int64", "shape": [1], "data": [9007199254740993]}'),
    (np.array([True, False]), '{"dtype": "bool", "shape": [2], "data": [true, false]}'),
    (torch.tensor([0.5], dtype=torch.bfloat16), '{"dtype": "bfloat16", "shape": [1], "data": [0.5]}'),
    (torch.tensor([0.1], requires_grad=True), '{"dtype": "float32", "shape": [1], "data": [0.1]}'),
    (torch.ones(1, 2).T, '{"dtype": "float32", "shape": [2, 1], "data": [[1.0], [1.0]]}'),
]  # fmt: skip


@pytest.mark.parametrize(("array", "text"), RECORDS, ids=[text for _, text in RECORDS])
def test_record(array, text):
    record = to_record(array)
    assert json.dumps(record, allow_nan=False) == text
    if not record["dtype"].startswith("complex"):  # these are written only
        assert_same(from_record(json.loads(text)), array)


def assert_same(found, array):
    """Shape, dtype and every bit that counts: -0.0 is not 0.0, NaN is NaN."""
    assert (dtype_of(found), tuple(found.shape)) == (dtype_of(array), tuple(array.shape))
    a, b = to_numpy(found), to_numpy(array)
    np.testing.assert_array_equal(a, b)
    if a.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(b)]))


def any_array(dtype):
    shape = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    if dtype == "bfloat16":
        return arrays.arrays(np.float32, shape).map(lambda a: torch.tensor(a, dtype=torch.bfloat16))
    return arrays.arrays(np.dtype(dtype), shape)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_every_number_comes_back(dtype, data):
    array = data.draw(any_array(dtype))
    text = json.dumps(to_record(array), allow_nan=False)
    assert_same(from_record(loads(text)), array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_floats_are_printed_as_short_as_numpy_prints_them(dtype):
    with np.errstate(invalid="ignore"):
        if dtype is np.float16:
            numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)  # all there are
        else:
            numbers = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
        numbers = numbers[np.isfinite(numbers)]
        found = shortest(numbers)
        np.testing.assert_array_equal(found.astype(dtype), numbers)
    texts = [float(np.format_float_scientific(number)) for number in numbers]
    assert not any(len(repr(a)) > len(repr(b)) for a, b in zip(found.tolist(), texts, strict=True))


BARE = [
    ("3", np.array(3)),
    ("-1.5e-3", np.array(-0.0015)),
    ('"-Infinity"', np.array(-np.inf)),
    ('[1, "NaN"]', np.array([1, np.nan])),
    ("[[true], [false]]", np.array([[True], [False]])),
    ("[]", np.zeros(0)),
    ("[[], []]", np.zeros((2, 0))),
    ("[18446744073709551616]", np.array([2.0**64])),
    ("[9223372036854775808]", np.array([2.0**63])),
    ('{"data": [1, 2]}', np.array([1, 2])),
    ('{"data": [], "shape": [0, 3]}', np.zeros((0, 3))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "array"), BARE, ids=[text for text, _ in BARE])
def test_bare_json_has_no_dtype_of_its_own(text, array):
    found = from_json(loads(text))
    assert found.typed
    assert_same(found.array, array)


BAD = [
    ("[1, 2", "not JSON: expecting ',' delimiter"),
    ("[NaN]", 'NaN is not JSON; it is written as a text: "NaN"'),
    ("[-Infinity]", '-Infinity is not JSON; it is written as a text: "-Infinity"'),
    ("[[1, 2], [3]]", "a ragged list: item 0 has length 2, item 1 has length 1 at [1]"),
    ("[[[1], [2]], [[3]]]", "a ragged list: item 0 has the shape (2, 1), item 1 has the shape (1, 1) at [1]"),
    ("[1, [2]]", "a ragged list: item 0 is a number, item 1 has length 1 at [1]"),
    ("[1, null]", "null is not a number at [1]"),
    ('[[1], ["a"]]', 'the text "a" is not a number at [1, 0]'),
    ('[{"data": 1}]', "a JSON object where a number is expected at [0]"),
    ("null", "null is not a number"),
    ('{"values": [1]}', 'not a tensor: {"dtype", "shape", "data"} is expected'),
    ('{"data": [1], "dtype": "float46"}', "unknown dtype 'float46'; did you mean 'float64'?"),
    ('{"data": [[1, 2]], "dtype": "complex64"}', "dtype 'complex64': complex tensors are not supported"),
    ('{"data": [1], "dtype": 64}', "dtype is a text such as 'float64', not 64"),
    ('{"data": [1], "shape": [2]}', "shape says (2,), and data has the shape (1,)"),
    ('{"data": [1], "shape": [0]}', "shape says (0,), and data has the shape (1,)"),
    ('{"data": [], "shape": [3]}', "shape says (3,), and data has the shape (0,)"),
    ('{"data": [1], "shape": "1"}', "shape is a list of whole numbers, not '1'"),
    ('{"data": [300], "dtype": "uint8"}', "300 does not fit into uint8"),
    ('{"data": [0.5], "dtype": "int64"}', "0.5 is not a whole number that fits into int64"),
    ('{"data": [2], "dtype": "bool"}', "2 is neither 0 nor 1"),
    ('{"data": [1e39], "dtype": "float32"}', "1e+39 is too large for float32"),
    ("[" * 65 + "]" * 65, "nested more than 64 deep at [" + ", ".join(["0"] * 64) + "]"),
    ("[" * 100_000, "not JSON: nested too deeply"),
    (f"[1{'0' * 400}]", "it holds a whole number that is too large for float64"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message[:60] for _, message in BAD])
def test_what_is_no_tensor_is_said(text, message):
    with pytest.raises(Diagnostic) as caught:
        from_json(loads(text))
    assert (caught.value.kind, caught.value.message) == ("input", message)


@given(
    value=st.recursive(
        st.integers() | st.floats() | st.none() | st.booleans() | st.text(), st.lists, max_leaves=8
    )
)
def test_from_json_never_fails_otherwise(value):
    try:
        found = from_json(value)
    except Diagnostic:
        return
    assert found.array.dtype.kind in "bif"


@pytest.mark.parametrize(("path", "found"), [((0,), "[1, 2]"), ((1, 1), '"x,]"'), ((2,), "[]")])
def test_locate_finds_an_item_in_the_text(path, found):
    text = ' [ [1, 2],\n [3 , "x,]" ], [] ]'
    span = locate(text, path)
    assert text[span.start : span.stop] == found


@pytest.mark.parametrize("number", [0.1, -0.0, float("inf"), float("-inf"), float("nan")])
def test_one_number(number):
    assert repr(from_json(encode_number(number)).array.item()) == repr(number)


def test_a_number_that_does_not_fit_is_never_wrapped_around():
    for dtype, fits, too_large in [
        ("int8", [-128, 127], 128), ("uint8", [0, 255], -1), ("int64", [-(2.0**63)], 2.0**63),
        ("float16", [65504, 65519], 65520), ("float32", [3.4028235e38], 3.5e38),
        ("bfloat16", [3.39e38], 3.4e38),
        ("int32", [2.0], float("nan")), ("float16", [float("inf")], 1e300),
    ]:  # fmt: skip
        assert torch.isfinite(to_torch(np.array(fits), dtype)).all() or fits == [float("inf")]
        with pytest.raises(Diagnostic):
            to_torch(np.array(too_large), dtype)


def test_a_million_numbers_take_no_longer_than_a_few_times_the_json_module():
    array = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    start = time.process_time()
    record = to_record(array)
    encoded = time.process_time()
    text = json.dumps(record)
    dumped = time.process_time()
    assert encoded - start < 5 * (dumped - encoded) + 0.5
    assert (from_record(json.loads(text)) == array).all()


def test_numpy_arrays_do_not_import_torch():
    program = (
        "import sys; from vjpcalc.job.arguments import Reader, parse_input\n"
        "from vjpcalc.tensors.json import from_record, to_record\n"
        "record = to_record(Reader().read(parse_input('x:f32=[[1, 2], [3, 4]]')).array)\n"
        "assert from_record(record).shape == (2, 2) and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_the_package_imports_neither_torch_nor_numpy():
    program = (
        "import sys; from vjpcalc.job.arguments import parse_input; parse_input('x=@x.npy')\n"
        "assert not {'torch', 'numpy', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
