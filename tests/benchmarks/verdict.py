"""How often the verdict is right, and its price, beside gradcheck's: ``python tests/benchmarks/verdict.py``

Some thousands of pairs of a function and an input (``corpus.py``, ``pairs.py``), right ones and planted
errors, go through vjpcalc and through ``torch.autograd.gradcheck`` with its defaults, slow and fast, one
after the other in the same run. Of the lower precisions gradcheck warns that it is not made for them; it is
asked nevertheless. Nothing here is asserted: what the figures should be stands beside them.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from pairs import DTYPES, SHOWN, SIZES, Pair, Tensor, build, default, specs

import vjpcalc
from vjpcalc.check.verdict import check
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.job.autograd import compute
from vjpcalc.job.job import make_job
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED

WARM_UP = 20  # pairs that are judged once before the clock counts

# ---- the three that are asked ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    verdict: str
    reason: str
    seconds: float


def ours(pair: Pair) -> Answer:
    started = time.perf_counter()
    try:
        if pair.tamper is None:
            dtype = pair.spec.dtype
            result = vjpcalc.vjp(pair.text, pair.inputs, pair.seed, use=pair.use, dtype=dtype)
        else:
            leaf, plant = pair.tamper
            vjp = compute(make_job(pair.text, pair.inputs, seed=pair.seed, dtype=pair.spec.dtype))
            changed = plant(vjp.gradients[leaf])
            changed = torch.zeros_like(vjp.gradients[leaf]) if changed is None else changed
            result = check(replace(vjp, gradients={**vjp.gradients, leaf: changed}))
    except Exception as error:  # a Diagnostic, too, is no verdict
        kind = "error" if isinstance(error, Diagnostic) else "crash"
        return Answer(kind, f"{type(error).__name__}: {error}", time.perf_counter() - started)
    taken = time.perf_counter() - started
    reasons = [f"{name}: {leaf.reason}" for name, leaf in result.check.leaves.items() if leaf.reason]
    return Answer(result.check.status, "; ".join(reasons), taken)


def gradcheck(pair: Pair, fast: bool) -> Answer:
    with default(pair.spec.dtype):
        inputs = [t.clone().requires_grad_(t.is_floating_point()) for t in pair.inputs.values()]
        started = time.perf_counter()
        try:
            passed = torch.autograd.gradcheck(pair.call, inputs, fast_mode=fast, raise_exception=False)
            reason = ""
        except Exception as error:
            passed, reason = False, f"{type(error).__name__}: {error}"
        return Answer(PASSED if passed else FAILED, reason, time.perf_counter() - started)


ASKED: dict[str, Callable[[Pair], Answer]] = {
    "vjpcalc": ours,
    "gradcheck": lambda pair: gradcheck(pair, fast=False),
    "gradcheck, fast": lambda pair: gradcheck(pair, fast=True),
}
RIVALS = ("gradcheck", "gradcheck, fast")


@dataclass(frozen=True)
class Judged:
    """A pair, and what each of the three says of it."""

    pair: Pair
    answers: dict[str, Answer]

    @property
    def is_misjudged(self) -> bool:
        return self.answers["vjpcalc"].verdict not in self.pair.accepted

    def ratio(self, rival: str) -> float:
        return self.answers["vjpcalc"].seconds / self.answers[rival].seconds


def judge(pairs: Sequence[Pair]) -> list[Judged]:
    for pair in pairs[:: max(1, len(pairs) // WARM_UP)]:
        for ask in ASKED.values():
            ask(pair)
    return [Judged(pair, {name: ask(pair) for name, ask in ASKED.items()}) for pair in pairs]


# ---- tables ------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    if markdown:
        ruler = ["---", *["---:"] * (len(head) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *rows))
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in (head, *rows))
    )


def share(judged: Sequence[Judged], name: str, verdict: str) -> str:
    """How many of these pairs have this verdict: 100 % and 0 % mean all and none."""
    count = sum(one.answers[name].verdict == verdict for one in judged)
    if count in (0, len(judged)):
        return "0 %" if not count else "100 %"
    return f"{min(max(100 * count / len(judged), 0.1), 99.9):.1f} %"


def by_group(judged: Sequence[Judged]) -> str:
    """Every group of pairs with all verdicts."""
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        groups.setdefault(one.pair.group, []).append(one)
    rows = []
    for group in sorted(groups, key=_order):
        members = groups[group]
        mine = [share(members, "vjpcalc", verdict) for verdict in (FAILED, INCONCLUSIVE, PASSED)]
        wrong = sum(one.is_misjudged for one in members)
        rivals = [share(members, name, FAILED) for name in RIVALS]
        rows.append([group, str(len(members)), *mine, str(wrong or ""), *rivals])
    head = ["pairs", "number", FAILED, INCONCLUSIVE, PASSED, "misjudged", "gradcheck failed", "… fast"]
    return table(head, rows)


def _order(group: str) -> tuple[int, int, str, float]:
    """By dtype, by scale, right ones first, errors by their size."""
    dtype, _, rest = group.partition(", ")
    scale, _, what = rest.partition(": ")
    kinds = ("right", "few", "no digit", "torch", "error", "cotangent")
    kind = next(i for i, word in enumerate(kinds) if what.startswith(word))
    last = what.rpartition(" ")[2]
    size = -float(last) if last[0].isdigit() else 1.0
    return DTYPES.index(dtype), list(SHOWN.values()).index(scale), str(kind), size


# What is counted, what it should be, which verdict, and in which groups of pairs (a regular expression).
FIGURES = [
    ("right ones called failed: all", "0", FAILED, ": (right|few)"),
    ("… float64, well scaled", "0", FAILED, "float64, well scaled: right"),
    ("… float64, badly scaled", "0", FAILED, "float64, badly scaled: (right|few)"),
    ("… at kinks", "0", FAILED, "at kinks: right"),
    ("… float64, rounded to float32 inside", "0", FAILED, "inside: right"),
    ("… float32", "0", FAILED, "float32.* scaled: (right|few)"),
    ("… float16", "0", FAILED, "^float16.* scaled: (right|few)"),
    ("… bfloat16", "0", FAILED, "bfloat16.* scaled: (right|few)"),
    ("right ones inconclusive: well scaled", "0", INCONCLUSIVE, "well scaled: right"),
    ("… float64, badly scaled", "≤ 5 %", INCONCLUSIVE, "float64, badly scaled: right"),
    ("… float64, rounded to float32 inside", "0", INCONCLUSIVE, "inside: right"),
    ("no digit left, yet passed", "0", PASSED, "no digit left"),
    (
        "errors detected: float64, well scaled",
        "100 %",
        FAILED,
        "float64, well scaled: (error [^w]|cotangent)",
    ),
    *(
        (f"… {size:g}", "100 %", FAILED, f"float64, well scaled: error {size:g}")
        for size in SIZES["float64"][0]
    ),
    ("… of structure", "100 %", FAILED, "float64, well scaled: error of structure"),
    ("… the cotangent ignored", "100 %", FAILED, "float64, well scaled: cotangent"),
    ("… float64, badly scaled", "", FAILED, "float64, badly scaled: (error$|cotangent)"),
    ("… at kinks", "≥ 95 %", FAILED, "at kinks: error [^w]"),
    ("… not finite where the slope is", "100 %", FAILED, "not finite: error"),
    ("… 3 % and more, rounded to float32 inside", "100 %", FAILED, "inside: error"),
    ("… float32 (1e-4 and more), well scaled", "100 %", FAILED, "float32, well scaled: error [^w]"),
    ("… float16 (2 % and more), well scaled", "100 %", FAILED, "^float16, well scaled: error [^w]"),
    ("… bfloat16 (10 % and more), well scaled", "100 %", FAILED, "bfloat16, well scaled: error [^w]"),
    ("… badly scaled, yet passed", "0", PASSED, "badly scaled: (error$|cotangent)"),
]


def figures(judged: Sequence[Judged], markdown: bool) -> str:
    """The figures that have a goal."""
    rows = []
    for title, goal, verdict, pattern in FIGURES:
        members = [one for one in judged if re.search(pattern, one.pair.group)]
        if members:
            # gradcheck knows no third verdict
            names = ASKED if verdict != INCONCLUSIVE else ("vjpcalc",)
            shares = [share(members, name, verdict) if name in names else "–" for name in ASKED]
            rows.append([title, str(len(members)), goal, *shares])
    return table(["pairs", "number", "goal", *ASKED], rows, markdown)


# Which pairs' time is shown: a title, and groups.
TIMED = [
    ("all", ""),
    ("right ones: float64, well scaled", "float64, well scaled: right"),
    ("… float64, badly scaled", "float64, badly scaled: (right|few|no digit)"),
    ("… at kinks", "at kinks: right"),
    ("… of lower precision", "(32|16).* scaled: (right|few|no digit)"),
    ("with an error", "(error|cotangent)"),
]
OWN = [("one function of the user's own", True), ("all of the language", False)]


def times(judged: Sequence[Judged], markdown: bool) -> str:
    """The median and the mean time of a pair, and the median of the ratios, pair by pair."""
    chosen = [
        (title, [one for one in judged if re.search(groups, one.pair.group)]) for title, groups in TIMED
    ]
    chosen += [(title, [one for one in judged if bool(one.pair.use) == is_own]) for title, is_own in OWN]
    rows = []
    for title, members in chosen:
        if not members:
            continue
        taken = [[one.answers[name].seconds * 1e3 for one in members] for name in ASKED]
        each = [f"{statistics.median(ms):.1f} / {statistics.mean(ms):.1f}" for ms in taken]
        ratios = [f"{statistics.median(one.ratio(rival) for one in members):.2f}" for rival in RIVALS]
        rows.append([title, str(len(members)), *each, *ratios])
    head = ["median / mean time, ms", "number", *ASKED, "median ratio", "… to fast"]
    return table(head, rows, markdown)


def misjudged(judged: Sequence[Judged]) -> Iterator[str]:
    """Each pair whose verdict is not what it should be, with all there is to run it again."""

    def written(tensor: Tensor) -> str:
        text = np.array2string(tensor.double().numpy(), separator=",", max_line_width=10**6, threshold=20)
        return text.replace("\n", "")

    for one in judged:
        if one.is_misjudged:
            pair, mine = one.pair, one.answers["vjpcalc"]
            inputs = " ".join(f"{name}={written(tensor)}" for name, tensor in pair.inputs.items())
            yield f"{mine.verdict}, not {' or '.join(pair.accepted)} [{pair.group}]"
            yield f"    {pair.spec}"
            yield f"    {pair.text} | {inputs}"
            yield f"    reason: {mine.reason or '–'}"
            yield "    " + "; ".join(f"{name}: {one.answers[name].verdict}" for name in RIVALS)


# ---- the command -------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", metavar="WORD", help="pairs with this in their line: reductions, float16, tanh"
    )
    parser.add_argument("--pairs", metavar="N", type=int, help="about as many, spread over the corpus")
    parser.add_argument(
        "--list-wrong", action="store_true", help="every pair with another verdict than it should have"
    )
    parser.add_argument("--time-only", action="store_true", help="the times only")
    parser.add_argument("--markdown", action="store_true", help="the tables as README has them")
    options = parser.parse_args()

    chosen = [spec for spec in specs() if options.only is None or options.only in str(spec)]
    if options.pairs and options.pairs < len(chosen):
        chosen = [chosen[i * len(chosen) // options.pairs] for i in range(options.pairs)]
    started = time.perf_counter()
    pairs = [pair for pair in map(build, chosen) if pair is not None]
    built = time.perf_counter()
    judged = judge(pairs)
    done = time.perf_counter()

    if not options.time_only:
        if not options.markdown:
            right = sum(pair.is_right for pair in pairs)
            print(f"{len(pairs)} pairs, {right} right ones and {len(pairs) - right} with an error\n")
            print(by_group(judged) + "\n")
        print(figures(judged, options.markdown) + "\n")
    print(times(judged, options.markdown))
    if options.list_wrong:
        print("\n" + "\n".join(misjudged(judged)))
    print(f"{built - started:.0f} s to make the pairs, {done - built:.0f} s to judge them", file=sys.stderr)


if __name__ == "__main__":
    main()
