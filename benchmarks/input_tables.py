"""The table of what input_rates.py measured."""

import statistics
from collections.abc import Sequence
from typing import Any

from results import Table, number

HEAD = ("crop", "stored as", "kB", "threads", "images/s", "by thread", "quartiles")


def table(rows: Sequence[dict[str, Any]], steps: str = "") -> Table:
    """The rates; `steps` says what training steps take."""
    cells = []
    for row in rows:
        rate, found = statistics.median(row["rates"]), sorted(row["rates"])
        low, high = (found[round(share * (len(found) - 1))] for share in (0.25, 0.75))
        by_thread = number(rate / row["threads"])
        named = row["crop"], row["form"], number(row["kilobytes"]), str(row["threads"])
        cells.append((*named, number(rate), by_thread, f"{number(low)} to {number(high)}"))
    rounds = sorted({len(row["rates"]) for row in rows})
    counted = " to ".join(map(str, dict.fromkeys((rounds[0], rounds[-1]))))
    return Table(
        title="Input: training images a second by threads",
        note=(
            f"Medians over {counted} rounds, all rows in turns, of drawn noise with the spectrum "
            "of photographs as JPEG files of quality 90 in the disk's cache, read anew each time, "
            f"decoded, cropped, mirrored and put into batches.{steps}"
        ),
        head=HEAD,
        rows=cells,
    )
