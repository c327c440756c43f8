"""The mini-language of inputs and seeds on the command line.

    input  = NAME [":" DTYPE] "=" VALUE
    seed   = [NAME [":" DTYPE] "="] VALUE             NAME is an output's
    VALUE  = "@" FILE [":" KEY]                       a file, by its ending (see tensors/files.py)
           | "-" [":" KEY]                            JSON on standard input
           | JSON                                     a number, nested lists, or {"dtype", "shape", "data"}
           | EXPRESSION                               of vjpcalc's language, without names of its own

``parse_input`` and ``parse_seed`` make an Item of a text and touch nothing; a Reader makes a tensor of it.
"""

from __future__ import annotations

import functools
import itertools
import keyword
import os
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, Source, Span, reason, unknown
from vjpcalc.tensors.dtypes import Loaded, canonical, check_fits, dtype_name
from vjpcalc.tensors.files import BY_ENDING, choose, choose_json, read
from vjpcalc.tensors.json import Misfit, from_json, loads, locate

if TYPE_CHECKING:
    import torch

    from vjpcalc.limits import Limits

EXAMPLE = "inputs are written NAME=VALUE: x='[1, 2, 3]', x=@x.npy, x='randn(3)'"


# ---- parsing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """An input or seed as it was written; a seed without a name has ``""``. At ``start`` its value begins."""

    name: str
    dtype: str | None
    value: str
    source: Source
    start: int
    kind: str = "input"  # or "seed": the kind of Diagnostic

    @property
    def from_file(self) -> bool:
        return self.value.startswith("@")

    @property
    def from_stdin(self) -> bool:
        return self.value == "-" or self.value.startswith("-:")

    def error(self, message: str, *, hint: str | None = None, span: Span | None = None) -> Diagnostic:
        """A Diagnostic about this item; its place is the value where no span is given."""
        span = span or Span(self.start, len(self.source.text))
        return Diagnostic(self.kind, message, hint=hint, span=span, source=self.source)

    def blame(self, diagnostic: Diagnostic) -> Diagnostic:
        """A diagnostic that arose from this item, as one of the item's kind that has a place."""
        diagnostic.kind = self.kind
        if diagnostic.source is None:
            diagnostic.span, diagnostic.source = Span(self.start, len(self.source.text)), self.source
        return diagnostic


def parse_input(text: str) -> Item:
    """Read ``NAME=VALUE`` or ``NAME:DTYPE=VALUE``. Raises Diagnostic (input)."""
    head, equals, value = text.partition("=")
    if not equals:
        message, span = f"'{text}' is not an input: there is no '='", Span(0, len(text))
        raise Diagnostic("input", message, hint=EXAMPLE, span=span, source=Source(text, "input"))
    return _named(text, head, value, "input")


def parse_seed(text: str) -> Item:
    """Read ``VALUE``, ``NAME=VALUE`` or ``NAME:DTYPE=VALUE``, NAME an output's. Raises Diagnostic (seed)."""
    head = re.match(r"\s*[^\W\d]\w*\s*(:\s*[\w.]+\s*)?(?==[^=]|=$)", text)
    if head:
        return _named(text, head.group(), text[head.end() + 1 :], "seed")
    start = len(text) - len(text.lstrip())
    return _valued(Item("", None, text.strip(), Source(text, "seed"), start, "seed"))


def parse_inputs(texts: Iterable[str]) -> dict[str, Item]:
    """Inputs by name, in order. Raises Diagnostic (input), also where a name stands twice."""
    items: dict[str, Item] = {}
    for item in map(parse_input, texts):
        if item.name in items:
            first = items[item.name].source.text
            hint = f"the first was {first if len(first) <= 40 else first[:39] + '…'}"
            raise item.error(f"'{item.name}' is given twice", hint=hint, span=_name_span(item))
        items[item.name] = item
    return items


def checked_name(name: str) -> str:
    """An input's name as Python reads it in an expression. Raises Diagnostic (input) where it can be none."""
    name = unicodedata.normalize("NFKC", name)
    if keyword.iskeyword(name):
        message, hint = f"'{name}' is a word of the language and cannot be a name", f"call it {name}_"
    elif not name.isidentifier():
        message = f"'{name}' cannot be a name: letters, digits and _ make one, and it begins with no digit"
        better = re.sub(r"\W+", "_", name).strip("_")
        better = f"_{better}" if better[:1].isdigit() else better
        hint = f"call it {better}" if better.isidentifier() else ""
    elif name.startswith("__"):
        message, hint = "a name cannot begin with two underscores", ""
    else:
        return name
    raise Diagnostic("input", message, hint=hint or None)


def _named(text: str, head: str, value: str, kind: str) -> Item:
    """The Item of a text whose ``head``, NAME or NAME:DTYPE, stands before its ``value``."""
    name, colon, dtype = head.partition(":")
    start = len(head) + 1 + len(value) - len(value.lstrip())
    item = Item(name.strip(), None, value.strip(), Source(text, name.strip() or kind), start, kind)
    if not item.name:
        place = Span(len(name), len(name) + 1)
        raise item.error("a name is missing before '='", hint=EXAMPLE, span=place)
    place = _name_span(item)
    try:
        item = replace(item, name=checked_name(item.name))
        if colon:
            place = Span(len(name) + 1, max(len(head), len(name) + 2))
            if not dtype.strip():
                raise item.error("a dtype is missing after ':'", hint="for example x:float32=…")
            item = replace(item, dtype=canonical(dtype))
    except Diagnostic as diagnostic:
        raise item.error(diagnostic.message, hint=diagnostic.hint, span=place) from None
    return _valued(item)


def _valued(item: Item) -> Item:
    what = f"'{item.name}'" if item.name else "the seed"
    end = len(item.source.text)
    if not item.value:
        raise item.error(f"{what} has no value", hint=EXAMPLE, span=Span(max(end - 1, 0), end))
    if item.value.startswith("=") and item.name:
        place = Span(item.start - 1, item.start + 1)
        raise item.error("'==' compares; a value is given with one '='", span=place)
    if item.value in ("@", "-:") or (item.from_file and item.value[1:].startswith(":")):
        missing = "key" if item.value == "-:" else "file name"
        hint = "a file is written @FILE or @FILE:KEY; -:KEY is standard input"
        raise item.error(f"a {missing} is missing", hint=hint)
    return item


def _name_span(item: Item) -> Span:
    start = len(item.source.text) - len(item.source.text.lstrip())
    return Span(start, start + len(item.source.name))


# ---- reading -----------------------------------------------------------------------------------------------


class Reader:
    """Makes tensors of Items.

    ``stdin`` (text or bytes) is read once, when an item first asks for it. ``random_seed`` starts the random
    numbers of ``randn`` and the like: each name has a stream of its own, so that one more input changes no
    other. ``limits`` are those of expressions. ``default`` is the dtype of numbers typed in.
    """

    def __init__(
        self,
        stdin: IO[Any] | None = None,
        random_seed: int = 0,
        limits: Limits | None = None,
        default: str | torch.dtype = "float64",
    ) -> None:
        self._stdin, self.random_seed, self.limits = stdin, random_seed, limits
        self.default = dtype_name(default)

    def inputs(self, texts: Iterable[str]) -> dict[str, torch.Tensor]:
        """The tensors of ``NAME=VALUE`` texts, by name, in order. Raises Diagnostic (input)."""
        return {name: self.tensor(item) for name, item in parse_inputs(texts).items()}

    def seeds(self, texts: Iterable[str], outputs: Sequence[str]) -> dict[str, tuple[torch.Tensor, ...]]:
        """The tensors of ``--seed`` texts for each output that has any, in order.

        One without a name belongs to the only output. Raises Diagnostic (seed), also for an unknown output.
        """
        seeds: dict[str, tuple[torch.Tensor, ...]] = {}
        for item in map(parse_seed, texts):
            if not item.name and len(outputs) > 1:
                message = "there are several outputs: say which one this seed belongs to"
                raise item.error(message, hint=f"give it by name: --seed {outputs[0]}=…")
            if item.name and item.name not in outputs:
                message, span = f"there is no output '{item.name}'", _name_span(item)
                raise unknown("seed", message, item.name, outputs, span=span, source=item.source)
            name = item.name or outputs[0]
            seeds[name] = (*seeds.get(name, ()), self.tensor(item))
        return seeds

    def tensor(self, item: Item) -> torch.Tensor:
        """``read(item)`` as a torch tensor, numbers typed in as ``default``."""
        try:
            return self.read(item).tensor(self.default)
        except Diagnostic as diagnostic:
            raise item.blame(diagnostic) from None

    def read(self, item: Item) -> Loaded:
        """The tensor that an item means: any shape; its dtype is the item's, else the file's, else None.

        Raises Diagnostic of the item's kind, with the place in what the user wrote.
        """
        try:
            loaded = self._read(item)
            if item.dtype is None:
                return loaded
            check_fits(loaded.array, item.dtype)
            return Loaded(loaded.array, item.dtype)
        except Diagnostic as diagnostic:
            raise item.blame(diagnostic) from None

    def _read(self, item: Item) -> Loaded:
        if item.from_file:
            path, key = split_key(item.value[1:])
            return read(path, key)
        if item.from_stdin:
            key = item.value[2:] or None
            return choose_json(
                self._document,
                lambda keys, also=(): choose(keys, also, key, "standard input", "-"),
                pipe=True,
            )
        loaded = _from_json(item)
        return _from_expression(item, self.random_seed, self.limits) if loaded is None else loaded

    @functools.cached_property
    def _document(self) -> Any:
        """The JSON document on standard input."""
        return _read_document(self._stdin)


def split_key(text: str) -> tuple[str, str | None]:
    """``FILE[:KEY]`` apart; either may hold colons: the longest file there is, else up to a known ending."""
    colons = [match.start() for match in re.finditer(":", text)]
    files = (end for end in [len(text), *reversed(colons)] if os.path.isfile(_home(text[:end])))
    known = (end for end in colons if text[:end].lower().endswith(tuple(BY_ENDING)))
    end = next(itertools.chain(files, known), len(text))
    return _home(text[:end]), text[end + 1 :] or None


def _home(path: str) -> str:
    # a shell leaves the ~ of x=@~/x.npy alone
    return os.path.expanduser(path) if path.startswith("~") else path


def _read_document(stream: IO[Any] | None) -> Any:
    if stream is None:
        raise Diagnostic("input", "standard input has been read already: it is the expression")
    try:
        text = stream.read()
        if isinstance(text, bytes):
            text = text.decode("utf-8")
    except UnicodeDecodeError:
        message = "standard input is not JSON: it is not UTF-8 text"
        raise Diagnostic("input", message, hint="a file is x=@FILE") from None
    except (OSError, ValueError) as error:
        raise Diagnostic("input", f"standard input cannot be read: {reason(error)}") from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        message = "standard input is empty: JSON was expected"
        raise Diagnostic("input", message, hint="did the command before fail?")
    return loads(text, Source(text, "standard input"))


def _from_json(item: Item) -> Loaded | None:
    """The value as JSON, or None where it is not JSON: then it is an expression."""
    only_json = item.value[0] in '{"'  # these begin no expression
    try:
        document = loads(item.value, item.source if only_json else None, item.start)
    except Diagnostic:
        if only_json:
            raise
        return None
    try:
        return from_json(document)
    except Misfit as misfit:
        if not isinstance(document, list):
            raise
        place = locate(item.value, misfit.path, item.start)
        raise item.error(misfit.fault, hint=misfit.hint, span=place) from None


def _from_expression(item: Item, random_seed: int, limits: Limits | None) -> Loaded:
    from vjpcalc.engines.reference import ReferenceEngine
    from vjpcalc.language import interpret, syntax

    # no input's name has a blank in it
    stream = f"seed {item.name}" if item.kind == "seed" else item.name
    engine = ReferenceEngine([random_seed, zlib.crc32(stream.encode())])
    try:
        program = syntax.parse(item.value, item.source.name)
        trace = interpret.run(program, engine, {}, limits=limits)
    except Diagnostic as diagnostic:
        raise _as_item_error(diagnostic, item) from None
    return Loaded(trace.outputs[program.output].value)


def _as_item_error(diagnostic: Diagnostic, item: Item) -> Diagnostic:
    """What is wrong with a value's expression, shown in the item where it stands."""
    if diagnostic.source is not None and diagnostic.span is not None:
        shift = item.source.text.find(diagnostic.source.text, item.start)
        if shift >= 0:
            start, stop = diagnostic.span.start + shift, diagnostic.span.stop + shift
            diagnostic.span, diagnostic.source = Span(start, stop), item.source
    if diagnostic.kind == "name" and "has no value" in diagnostic.message:
        diagnostic.hint = "a value stands alone: it sees no other input"
        word = diagnostic.message.split("'")[1].lower()
        if word in ("nan", "infinity"):
            diagnostic.hint = f"it is written {word[:3]}"
        if os.path.exists(item.value) or item.value.lower().endswith(tuple(BY_ENDING)):
            diagnostic.hint = f"a file is written with @: {f'{item.name}=' if item.name else ''}@{item.value}"
    return diagnostic
