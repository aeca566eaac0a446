"""From what benchmarks/gpu.py measured to the tables that it prints and writes."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gpu_measure import Results
from gpu_sides import JAX, PYTORCH
from results import Table, number

TOP = 20  # kernels of a trace
STEPS = (
    "arm", "by", "ms a step", "quartiles", "time / JAX", "images/s", "TFLOP/s", "of the ceiling",
    "GiB", "million parameters",
)  # fmt: skip
FIRST = ("arm", "by", "from nothing, s", "cache filled, s", "instructions")
LEVERS = ("arm", "lever", "value", "ms a step", "quartiles", "time / first", "GiB", "first call, s")
KERNELS = ("kernels", "ms a step", "launches", "share", "mostly in")
STAGES = ("stage", "ms a step", "launches", "share", "mostly")
NOTHING = "-"

Row = dict[str, Any]


def tables(results: Results) -> list[Table]:
    """All that was measured; a table without rows is left out."""
    made = [steps(results), first_calls(results), levers(results)]
    for arm, trace in results.traces.items():
        made += [
            by_name(arm, trace, "kernels", KERNELS),
            by_name(arm, trace, "stages", STAGES),
        ]
    made.append(missing(results))
    return [table for table in made if table.rows]


def quartiles(row: Row) -> str:
    """Where the middle half of a row's milliseconds lies."""
    ordered = sorted(row["seconds"])
    if not ordered:
        return NOTHING
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.75))
    return f"{number(1e3 * low)} to {number(1e3 * high)}"


def timed(results: Results) -> list[Row]:
    """The rows of the table of steps: ours beside PyTorch's of the same rounds, where there is one.

    Of ours that were timed in several parts those of the rounds with PyTorch count.
    """
    own: dict[str, Row] = {}
    for part in ("paper", "cache", "peers", "large", "others"):
        for row in results.rows:
            if row["part"] == part and row["framework"] == JAX and row["seconds"]:
                own[row["arm"]] = row
    theirs = [row for row in results.rows if row["framework"] == PYTORCH]
    chosen = []
    for arm, row in own.items():
        chosen += [row, *(peer for peer in theirs if peer["arm"] == arm and peer["seconds"])]
    return chosen


def steps(results: Results) -> Table:
    """Steps, against the ceiling and each other."""
    ceilings = {by: statistics.median(found) for by, found in results.ceilings.items()}
    ours = {row["arm"]: row for row in timed(results) if row["framework"] == JAX}
    rows = []
    for row in timed(results):
        base, seconds = ours[row["arm"]], statistics.median(row["seconds"])
        rate = 6 * base["multiply_adds"] / seconds
        share = rate / ceilings[JAX] if JAX in ceilings else None
        rows.append(
            (
                row["arm"],
                by(row),
                number(1e3 * seconds),
                quartiles(row),
                f"{seconds / statistics.median(base['seconds']):.2f}",
                number(base["peer"]["batch"] / seconds),
                number(rate / 1e12),
                NOTHING if share is None else f"{100 * share:.1f} %",
                gib(row),
                f"{row['parameters'] / 1e6:.2f}",
            )
        )
    measured = ", ".join(f"{number(value / 1e12)} in {by}" for by, value in ceilings.items())
    return Table(
        title="Training steps on a GPU",
        note=(
            "Medians of rounds that run arms in turns, ours and PyTorch's, several steps each "
            "without waiting between them; TFLOP/s: 2 x 3 x the forward multiply-adds of a batch, "
            f"by the second. The ceiling, a matrix product in the same rounds: {measured} TFLOP/s; "
            "shares are of JAX's. GiB: what the compiled program needs, arguments included; of "
            "PyTorch the most that its tensors held at the first step."
        ),
        head=STEPS,
        rows=rows,
    )


def by(row: Row) -> str:
    """Whose step a row is."""
    return " ".join(filter(None, (row["framework"], row.get("mode"))))


def gib(row: Row) -> str:
    """The memory of a row's program."""
    return NOTHING if row.get("gib") is None else number(row["gib"])


def first_calls(results: Results) -> Table:
    """What the first step takes, from nothing and once its programs are in the cache."""
    cached = {row["arm"]: row for row in results.rows if row["part"] == "cache"}
    rows = []
    for row in results.rows:
        if row["part"] in ("cache", "trace", "levers") or "first_s" not in row:
            continue
        if row["part"] == "peers" and row["framework"] == JAX:
            continue
        again = cached.get(row["arm"], {}) if row["framework"] == JAX else {}
        rows.append(
            (
                row["arm"],
                by(row),
                number(row["first_s"]),
                number(again["first_s"]) if "first_s" in again else NOTHING,
                f"{row['instructions']:,}" if row.get("instructions") else NOTHING,
            )
        )
    start = results.starts.get(JAX, {})
    said = (
        f" Imports took {start['import_s']:.1f} s, the device {start['device_s']:.1f} s."
        if start
        else ""
    )
    return Table(
        title="The first step",
        note=(
            "Seconds of the first call: tracing, compilation, autotuning and one step. The arms of "
            "a worker come one after the other, so later ones find what earlier ones tuned. "
            "PyTorch's compiled ones stood still while others were timed. Instructions: those of "
            f"the main computation that do work.{said}"
        ),
        head=FIRST,
        rows=rows,
    )


def levers(results: Results) -> Table:
    """Each value of each lever against the lever's first."""
    rows, first = [], {}
    for row in results.rows:
        if row["part"] != "levers" or not row["seconds"]:
            continue
        seconds = statistics.median(row["seconds"])
        key = (row["arm"], row["lever"], row["number"])
        if row["value"] == row["first"]:
            first[key] = seconds
        rows.append(
            (
                row["arm"],
                row["lever"],
                row["value"] or "(nothing)",
                number(1e3 * seconds),
                quartiles(row),
                f"{seconds / first[key]:.2f}" if key in first else NOTHING,
                gib(row),
                number(row["first_s"]),
            )
        )
    return Table(
        title="Levers",
        note="The values of one lever in turns.",
        head=LEVERS,
        rows=rows,
    )


def by_name(arm: str, trace: Mapping[str, Any], what: str, head: Sequence[str]) -> Table:
    """A trace's kernels or stages, longest first."""
    total = sum(row["milliseconds"] for row in trace[what])
    rows = [
        (
            row["name"],
            f"{row['milliseconds']:.3f}",
            f"{row['launches']:.0f}",
            f"{100 * row['milliseconds'] / total:.1f} %",
            row["mostly"] or NOTHING,
        )
        for row in top(trace[what], TOP)
    ]
    return Table(
        title=f"{arm}: the {TOP} longest {what}",
        note=(
            "One step of a trace, in which XLA launches kernels one by one: "
            f"{trace['span_ms']:.2f} ms from its first kernel to its last, "
            f"{trace['busy_ms']:.2f} ms of them with a kernel running, "
            f"{trace['launches']:.0f} launches."
        ),
        head=head,
        rows=rows,
    )


def top(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The first rows, and one more that sums up the rest of them."""
    rest = rows[count:]
    if not rest:
        return list(rows)
    total = {key: sum(row[key] for row in rest) for key in ("milliseconds", "launches")}
    return [*rows[:count], {"name": f"{len(rest)} others", "mostly": "", **total}]


def missing(results: Results) -> Table:
    """What was to be measured and was not, and why."""
    failed = [
        (
            ", ".join(filter(None, (f"{row['part']}: {row['arm']}", row.get("setting"), by(row)))),
            row.get("error", "not timed: the time was over"),
        )
        for row in results.rows
        if "error" in row or not (row["seconds"] or row["part"] == "cache")
    ]
    failed += [
        (f"{row['part']}: {row['arm']}, memory and instructions", row["untold"])
        for row in results.rows
        if row.get("untold") and row["part"] in ("paper", "large", "others")
    ]
    others = [(what, why) for what, _, why in (text.partition(": ") for text in results.missing)]
    return Table(title="Not measured", note="And why.", head=("what", "why"), rows=failed + others)
