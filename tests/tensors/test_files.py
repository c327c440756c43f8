"""Files in and out: every format, exactly; hostile files refused; written whole or not at all."""

import contextlib
import errno
import io
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import textwrap
import threading
import time
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vjpcalc.diagnostics import Diagnostic, ExitStatus
from vjpcalc.tensors.dtypes import dtype_of, to_numpy
from vjpcalc.tensors.files import BY_ENDING, read, write
from vjpcalc.tensors.json import to_record

ENDINGS = [ending for ending in BY_ENDING if ending != ".mtx"]  # matrices alone: test_sparse_files.py
KEYED = [ending for ending in ENDINGS if BY_ENDING[ending].keyed]
TABLES = [".csv", ".tsv", ".txt"]
WITH_DTYPE = [ending for ending in ENDINGS if ending not in TABLES]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def message(path, key=None):
    with pytest.raises(Diagnostic) as caught:
        read(path, key)
    assert (caught.value.kind, caught.value.status) == ("input", ExitStatus.INPUT)
    return caught.value.message


def write_message(path, written):
    with pytest.raises(Diagnostic) as caught:
        write(path, written)
    assert caught.value.status == ExitStatus.USAGE
    return caught.value.message


# ---- every format gives back what was put in ---------------------------------------------------------------

NUMBERS = np.array([[0.1, -0.0, 1 / 3], [np.nan, np.inf, -np.inf]])
ARRAYS = {
    "float64": NUMBERS,
    "float32": NUMBERS.astype(np.float32),
    "int64": np.array([[1, -2], [3, 2**52]]),
    "one number": np.array(2.5),
    "a vector": np.array([1.5, -2.5]),
    "not contiguous": np.arange(6.0).reshape(2, 3).T,
    "torch": torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64, requires_grad=True),
}
ONLY_WITH_DTYPE = {
    "float16": NUMBERS.astype(np.float16),
    "bfloat16": torch.tensor([[0.1, -0.0]], dtype=torch.bfloat16),
    "bool": np.array([True, False]),
    "uint8": np.array([0, 255], dtype=np.uint8),
    "empty": np.zeros((2, 0)),
    "empty the other way": np.zeros((0, 3), dtype=np.float32),
    "one row": np.ones((1, 3)),
    "four dimensions": np.arange(16.0).reshape(2, 2, 2, 2),
}


CASES = [(ending, name) for ending in ENDINGS for name in ARRAYS]
CASES += [(ending, name) for ending in WITH_DTYPE for name in ONLY_WITH_DTYPE]


@pytest.mark.parametrize(("ending", "name"), CASES)
def test_round_trip(folder, ending, name):
    array = {**ARRAYS, **ONLY_WITH_DTYPE}[name]
    write(f"a{ending}", {"x": array})
    found = read(f"a{ending}")
    expected = to_numpy(array)
    if ending in TABLES:
        assert found.typed
        np.testing.assert_array_equal(found.array.astype(expected.dtype), expected)
    else:
        bfloat16_kept = name != "bfloat16" or ending not in (".npy", ".npz")
        assert found.dtype == dtype_of(found.array) == (dtype_of(array) if bfloat16_kept else "float32")
        np.testing.assert_array_equal(to_numpy(found.array), expected)
    assert found.shape == tuple(array.shape)
    assert (
        np.signbit(to_numpy(found.array)).tolist() == np.signbit(expected).tolist()
        or expected.dtype.kind != "f"
    )
    assert found.tensor().shape == found.shape
    assert os.listdir(folder) == [f"a{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
@given(array=arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=4)))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_float64_comes_back(tmp_path, ending, array):
    write(tmp_path / f"a{ending}", {"x": array})
    np.testing.assert_array_equal(read(tmp_path / f"a{ending}").array, array)


@pytest.mark.parametrize("ending", KEYED)
def test_several_by_key(folder, ending):
    # 'file' is the name of numpy.savez's own argument; 'data', 'shape' and 'error' are words of the JSON
    written = {
        name: np.array([float(i)]) for i, name in enumerate(["a", "file", "data", "shape", "error", "é"])
    }
    write(f"g{ending}", written)
    for name, array in written.items():
        assert read(f"g{ending}", name).array.tolist() == array.tolist()
    assert message(f"g{ending}") == f"'g{ending}' holds 6 arrays: say which, @g{ending}:a"
    assert message(f"g{ending}", "dota") == f"'g{ending}' has no 'dota'; did you mean 'data'?"


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending not in KEYED])
def test_one_array_only(folder, ending):
    written = {"a": np.ones(2), "b": np.ones(2)}
    assert write_message(f"g{ending}", written) == f"a {ending} file holds one array, and there are 2: a, b"
    write(f"g{ending}", {"a": np.ones(2)})
    assert message(f"g{ending}", "a") == f"'g{ending}' holds one array and no keys"


def test_equal_arrays_make_equal_files(folder):
    for ending in (".npy", ".npz", ".json", ".safetensors", ".csv"):
        write(f"a{ending}", {"x": np.ones(3)})
        write(f"b{ending}", {"x": np.ones(3)})
        with open(f"a{ending}", "rb") as a, open(f"b{ending}", "rb") as b:
            assert a.read() == b.read()


def test_endings_may_be_written_large(folder):
    write("A.NPY", {"x": np.ones(2)})
    assert read("A.NPY").array.tolist() == [1, 1]


# ---- what others write -------------------------------------------------------------------------------------

TABLE_TEXTS = [
    ("a.csv", "1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
    ("a.csv", "x,y\n1,2\n3,4\n", [[1, 2], [3, 4]]),
    ("a.csv", '"height","weight"\r\n1.5,2e3\r\n', [1.5, 2000]),
    ("a.csv", "\ufeff1, 2\n3 ,4\n\n", [[1, 2], [3, 4]]),
    ("a.csv", "# made by hand\n1,2  # the first\n3,4\n", [[1, 2], [3, 4]]),
    ("a.csv", "1\n2\n3\n", [1, 2, 3]),
    ("a.csv", "1,2,3", [1, 2, 3]),
    ("a.csv", "nan,inf,-inf", [np.nan, np.inf, -np.inf]),
    ("a.tsv", "a\tb\n1\t2\n3\t4\n", [[1, 2], [3, 4]]),
    ("a.txt", "  1   2\n\t3 4\n", [[1, 2], [3, 4]]),
    ("a.txt", "7\n", 7),
]


@pytest.mark.parametrize(
    ("path", "text", "expected"), TABLE_TEXTS, ids=[repr(text) for _, text, _ in TABLE_TEXTS]
)
def test_tables(folder, path, text, expected):
    (folder / path).write_bytes(text.encode())
    found = read(path)
    np.testing.assert_array_equal(found.array, np.array(expected, dtype=float))
    assert found.shape == np.shape(expected)
    assert found.typed


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("a.csv", b"", "'a.csv' holds no number"),
        ("a.csv", b"x,y\n", "'a.csv' holds no number"),
        ("a.csv", b"1;2\n", "'a.csv' holds no number"),
        (
            "a.csv",
            b"# x\n1,2\n3\n",
            "'a.csv' is not a table of numbers: line 3 has 1 field, and the first has 2",
        ),
        ("a.csv", b"1,\n", "'a.csv' is not a table of numbers: line 1, column 2: an empty field"),
        (
            "a.csv",
            b"x,y\n\n1,x\n",
            "'a.csv' is not a table of numbers: line 3, column 2: 'x' is not a number",
        ),
        ("a.csv", b"x\n3;4\n", "'a.csv' is not a table of numbers: line 2, column 1: '3;4' is not a number"),
        ("a.txt", b"\xff\xfe1", "'a.txt' is not text"),
        ("a.json", b"\xff\xfe1", "'a.json' is not JSON: it is not UTF-8 text"),
        ("a.json", b"", "not JSON: expecting value"),
        ("a.json", b"{}", "'a.json' holds no tensor"),
        ("a.json", b'"text"', 'the text "text" is not a number'),
    ],
)
def test_what_is_no_table_or_json(folder, path, content, said):
    (folder / path).write_bytes(content)
    assert message(path).startswith(said)


RECORD = {"dtype": "float32", "shape": [1], "data": [0.5]}
DOCUMENT = {
    "format_version": "1.0",
    "expression": "a @ b",
    "outputs": {"out": {"dtype": "float64", "shape": [], "data": 3.0}},
    "gradients": {"a": RECORD, "b": {"dtype": "float64", "shape": [2], "data": [1.0, "NaN"]}},
    "check": {"leaves": {"a": {"jt_seed": RECORD}}},
}
JSON_TEXTS = [
    ([[1, 2]], None, [[1, 2]], None),
    (3, None, 3, None),
    (RECORD, None, [0.5], "float32"),
    ({"data": [1, 2]}, None, [1, 2], None),
    ({"x": [1, 2]}, None, [1, 2], None),
    ({"x": [1, 2], "y": RECORD}, "y", [0.5], "float32"),
    ({"layer": {"weight": [[1]], "bias": 2}}, "layer.weight", [[1]], None),
    ({"name": "mine", "values": [1]}, None, [1], None),
    (DOCUMENT, "a", [0.5], "float32"),
    (DOCUMENT, "b", [1, np.nan], "float64"),
    (DOCUMENT, "gradients.a", [0.5], "float32"),
    (DOCUMENT, "outputs.out", 3.0, "float64"),
    ({"format_version": "1.0", "jacobians": {"x": RECORD}}, None, [0.5], "float32"),
    ({"format_version": "1.0", "gradients": {"error": RECORD}}, "error", [0.5], "float32"),
]


@pytest.mark.parametrize(("document", "key", "expected", "dtype"), JSON_TEXTS)
def test_json_documents(folder, document, key, expected, dtype):
    (folder / "a.json").write_text(json.dumps(document))
    found = read("a.json", key)
    np.testing.assert_array_equal(found.array, np.array(expected))
    assert found.dtype == dtype


def test_json_of_vjpcalc_itself(folder):
    (folder / "a.json").write_text(json.dumps(DOCUMENT))
    assert message("a.json") == "'a.json' holds 2 arrays: say which, @a.json:a"
    assert message("a.json", "c") == "'a.json' has no 'c'"
    error = {"format_version": "1.0", "error": {"message": "unknown function 'sine'", "hint": "sin"}}
    (folder / "a.json").write_text(json.dumps(error))
    assert message("a.json") == "the file holds no result but an error: unknown function 'sine'"


def test_state_dicts(folder):
    model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Linear(1, 1, bias=False))
    torch.save(model.state_dict(), "model.pt")
    np.testing.assert_array_equal(read("model.pt", "0.weight").array, model[0].weight.detach().numpy())
    assert message("model.pt", "0.wieght") == "'model.pt' has no '0.wieght'; did you mean '0.weight'?"

    torch.save({"epoch": 3, "model": model.state_dict(), "parts": [torch.ones(2)]}, "checkpoint.pth")
    assert read("checkpoint.pth", "model.1.weight").shape == (1, 1)
    assert read("checkpoint.pth", "parts.0").shape == (2,)

    torch.save(torch.nn.Parameter(torch.ones(3)), "one.pt")
    assert read("one.pt").dtype == "float32"
    assert message("one.pt", "x") == "'one.pt' holds one array and no keys"
    torch.save({"epoch": 3}, "none.pt")
    assert message("none.pt") == "'none.pt' holds no tensor"
    torch.save(torch.ones(3), "old.pt", _use_new_zipfile_serialization=False)
    assert read("old.pt").shape == (3,)


def test_dtypes_that_torch_works_with_poorly_become_wider(folder):
    np.save("a.npy", np.array([1, 2**32 - 1], dtype=np.uint32))
    assert read("a.npy").tensor().tolist() == [1, 2**32 - 1]
    np.save("a.npy", np.array([1.5, -2], dtype=">f8"))
    assert read("a.npy").tensor().tolist() == [1.5, -2]
    np.save("a.npy", np.array([2**64 - 1], dtype=np.uint64))
    assert message("a.npy") == "18446744073709551615 does not fit into int64"


def test_large_npy_files_are_mapped_not_copied(folder, monkeypatch):
    monkeypatch.setattr("vjpcalc.tensors.files.LARGE", 1000)
    np.save("a.npy", np.zeros(1000))
    found = read("a.npy")
    assert isinstance(found.array.base, np.memmap)
    tensor = found.tensor()
    tensor[0] = 1  # copied on write: neither a warning nor a change of the file
    assert np.load("a.npy")[0] == 0
    torch.save({"x": torch.zeros(1000)}, "a.pt")
    assert read("a.pt").shape == (1000,)


# ---- what is not there, and what is hostile ----------------------------------------------------------------


def test_files_that_cannot_be_read(folder):
    (folder / "weights.npy").write_bytes(b"")
    (folder / "sub").mkdir()
    (folder / "sub.npz").mkdir()
    (folder / "a.dat").write_bytes(b"")
    (folder / "a").write_bytes(b"")
    os.mkfifo("pipe.json")
    assert message("wieghts.npy") == "there is no file 'wieghts.npy'; did you mean 'weights.npy'?"
    assert message("sub/x.npy") == "there is no file 'sub/x.npy'"
    assert message("nowhere/x.npy") == "there is no folder 'nowhere'"
    assert message("weights.npy/x.npy") == "'weights.npy/x.npy' cannot be read: not a directory"
    assert message("sub.npz") == "'sub.npz' is a folder"
    assert message("a.dat") == "'a.dat' has the ending '.dat', which is unknown"
    assert message("a") == "'a' has no ending"
    assert message("pipe.json") == "'pipe.json' is not a regular file"
    assert message("x\0.npy").startswith("'x\0.npy' cannot be read")
    assert message("x" * 300 + ".npy").endswith("cannot be read: file name too long")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(folder):
    write("a.npy", {"x": np.ones(1)})
    os.chmod("a.npy", 0)
    assert message("a.npy") == "'a.npy' cannot be read: permission denied"


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("bomb went off",))


def npy_header(shape, descr="<f8"):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def archive(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return stream.getvalue()


def saved(save, *arguments, **keywords):
    stream = io.BytesIO()
    save(stream, *arguments, **keywords)
    return stream.getvalue()


def torch_save(stream, value, **keywords):
    torch.save(value, stream, **keywords)


OBJECTS = np.array([Bomb()], dtype=object)
TERABYTE = (2**37,)
HOSTILE = {
    "a pickle as .npy": ("a.npy", pickle.dumps(Bomb())),
    "objects in .npy": ("a.npy", saved(np.save, OBJECTS, allow_pickle=True)),
    "a pickle as .npz": ("a.npz", pickle.dumps(Bomb())),
    "objects in .npz": ("a.npz", archive(x=saved(np.save, OBJECTS, allow_pickle=True))),
    "a pickle as .pt": ("a.pt", pickle.dumps(Bomb())),
    "objects in .pt": ("a.pt", saved(torch_save, {"x": torch.ones(1), "bomb": Bomb()})),
    "objects in old .pt": ("a.pt", saved(torch_save, Bomb(), _use_new_zipfile_serialization=False)),
    "a pickle as .safetensors": ("a.safetensors", pickle.dumps(Bomb())),
    "a pickle as .json": ("a.json", pickle.dumps(Bomb())),
    "a terabyte claimed by .npy": ("a.npy", npy_header(TERABYTE) + b"\0" * 80),
    "a terabyte claimed in .npz": ("a.npz", archive(x=npy_header(TERABYTE) + b"\0" * 80)),
    "more than there can be claimed by .npy": ("a.npy", npy_header((2**62, 2**62))),
    "more than there can be claimed in .npz": ("a.npz", archive(x=npy_header((2**62, 2**62)))),
    "a negative shape": ("a.npy", npy_header((-1,)) + b"\0" * 8),
    "a huge header": ("a.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31)),
    "code in the header": ("a.npy", npy_header("__import__('os').mkdir('bomb')")),
    "texts": ("a.npy", saved(np.save, np.array(["a"]))),
    "dates": ("a.npy", saved(np.save, np.array(["2020-01-01"], dtype="M8[D]"))),
    "records": ("a.npy", saved(np.save, np.zeros(1, dtype=[("x", "f8")]))),
    "complex numbers": ("a.npy", saved(np.save, np.ones(1, dtype=complex))),
    "complex numbers in .pt": ("a.pt", saved(torch_save, torch.ones(1, dtype=torch.complex64))),
    "sparse": ("a.pt", saved(torch_save, torch.eye(2).to_sparse())),
    "an array that is an archive": ("a.npz", saved(np.save, np.ones(1))),
    "an archive that is an array": ("a.npy", archive(x=saved(np.save, np.ones(1)))),
    "a terabyte claimed by .safetensors": ("a.safetensors", struct.pack("<Q", 2**40)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_never_run(folder, name):
    path, content = HOSTILE[name]
    (folder / path).write_bytes(content)
    said = message(path)
    assert "\n" not in said
    assert len(said) < 400
    assert os.listdir(folder) == [path]
    if name.startswith("objects in"):
        assert said.startswith(f"'{path}' holds pickled Python objects")


@pytest.mark.parametrize("ending", WITH_DTYPE)
def test_truncated_files_are_refused(folder, ending):
    write(f"a{ending}", {"x": np.arange(100.0)})
    whole = (folder / f"a{ending}").read_bytes()
    for length in [0, 1, 7, len(whole) // 2, len(whole) - 2]:
        (folder / f"a{ending}").write_bytes(whole[:length])
        message(f"a{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_is_never_an_internal_error(tmp_path, ending, position, byte):
    path = tmp_path / f"a{ending}"
    write(path, {"x": np.arange(6.0).reshape(2, 3)})
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    with contextlib.suppress(Diagnostic):
        read(path)


def test_safetensors_missing(folder, monkeypatch):
    write("a.safetensors", {"x": np.ones(1)})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for action in (
        lambda: read("a.safetensors"),
        lambda: write("a.safetensors", {"x": np.ones(1)}),
    ):
        with pytest.raises(Diagnostic) as caught:
            action()
        assert caught.value.hint == "pip install 'vjpcalc[safetensors]'"


# ---- whole or not at all -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_a_failure_leaves_the_old_file_and_nothing_else(folder, monkeypatch, ending, failure):
    path = f"a{ending}"
    write(path, {"x": np.ones(3)})
    before = (folder / path).read_bytes()

    def fail(*_):
        raise failure

    monkeypatch.setattr(os, "fsync", fail)  # everything is written, and then the disk is full
    with pytest.raises((Diagnostic, type(failure))) as caught:
        write(path, {"x": np.zeros(3)})
    if isinstance(failure, OSError):
        assert caught.value.message == f"'{path}' cannot be written: no space left on device"
    assert (folder / path).read_bytes() == before
    assert os.listdir(folder) == [path]


def test_a_failure_in_the_middle_of_writing(folder):
    write("a.npz", {"x": np.ones(3)})
    with pytest.raises(ValueError, match="Object arrays"):
        write("a.npz", {"x": np.zeros(3), "y": OBJECTS})
    assert read("a.npz").array.tolist() == [1, 1, 1]
    assert os.listdir(folder) == ["a.npz"]


def run(program, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, **options
    )


def test_a_disk_without_room(folder):
    """The system stops each file at 20 kB, whoever writes it and at whatever point."""
    for ending in ENDINGS:
        write(f"a{ending}", {"x": np.ones(3)})
    program = """
        import resource, signal, numpy as np
        from vjpcalc.diagnostics import Diagnostic
        from vjpcalc.tensors.files import BY_ENDING, write
        import torch
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        for ending in BY_ENDING:
            try:
                write("a" + ending, {"x": np.linspace(0, 1, 10_000)})
            except Diagnostic as diagnostic:
                print(diagnostic.message)
    """
    out, _ = run(program).communicate(timeout=120)
    assert out.splitlines() == [f"'a{ending}' cannot be written: file too large" for ending in BY_ENDING]
    assert sorted(os.listdir(folder)) == sorted(f"a{ending}" for ending in ENDINGS)
    for ending in ENDINGS:
        assert read(f"a{ending}").array.tolist() == [1, 1, 1]


def test_a_process_that_is_killed(folder):
    """Killed at any moment, it leaves one whole file: the one before or the one after."""
    program = """
        import itertools, numpy as np
        from vjpcalc.tensors.files import write
        for number in itertools.count():
            write("a.npz", {"x": np.full(30_000, number)})
            print(number, flush=True)
    """
    for after in range(1, 6):
        with run(program) as process:
            for _ in range(after):
                process.stdout.readline()
            time.sleep(0.003 * after)
            process.kill()
        found = read("a.npz").array
        assert found.shape == (30_000,)
        assert (found == found[0]).all()


def test_targets_that_cannot_be(folder):
    one = {"x": np.ones(1)}
    (folder / "sub.npz").mkdir()
    assert write_message("a.dat", one) == "'a.dat' has the ending '.dat', which is unknown"
    assert (
        write_message("nowhere/a.npz", one)
        == "'nowhere/a.npz' cannot be written: there is no folder 'nowhere'"
    )
    assert write_message("sub.npz", one) == "'sub.npz' cannot be written: it is a folder"
    assert write_message("a.csv", {"x": np.ones((2, 2, 2))}).startswith(
        "a table holds at most two dimensions"
    )
    assert write_message("a.csv", {"x": np.ones((0, 2))}).startswith("a table holds no empty tensor")
    assert os.listdir(folder) == ["sub.npz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_named_pipe_is_written_to(folder, ending):
    os.mkfifo(f"pipe{ending}")
    received = []
    reader = threading.Thread(target=lambda: received.append((folder / f"pipe{ending}").read_bytes()))
    reader.start()
    write(f"pipe{ending}", {"x": np.ones(2)})
    reader.join(10)
    (folder / f"copy{ending}").write_bytes(received[0])
    assert read(f"copy{ending}").array.tolist() == [1, 1]
    assert stat.S_ISFIFO(os.stat(f"pipe{ending}").st_mode)


def test_written_json_is_records_by_name(folder):
    write("g.json", {"a": np.array([np.nan])})
    assert json.loads((folder / "g.json").read_text()) == {"a": to_record(np.array([np.nan]))}
