"""Training steps on a GPU, beside PyTorch's where it is installed, in about eight minutes.

    python benchmarks/gpu.py                                  all parts
    python benchmarks/gpu.py --parts paper,cache,peers        some of them
    python benchmarks/gpu.py --parts trace,levers --more      joins what is there
    python benchmarks/gpu.py --parts levers --lever ABE_JAX_GPU_WAYS=unset,none
    JAX_PLATFORMS=cpu python benchmarks/gpu.py --small        any machine

The parts, in this order:
    paper   the first call from nothing, then steps, of ABE-8, a single head and 8 heads
    trace   the longest kernels by name and by stage
    levers  ABE-8, and where it says so 8 heads, with each value of each switch
    others  ABE-8 on EfficientNet-Lite0 and ViT-S/16
    large   ResNet-50 at the batches of MultiGrain and NormSoftmax
    input   training images a second by threads, from files and from prepared records
    cache   the first call of a new process once compiled programs are in the cache
    peers   the paper's systems in turns with PyTorch's, eager and under torch.compile, which
            compiles beside the parts before (it stands still while steps are timed)

A lever is a switch with two or more values: NAME=VALUE,VALUE, or with semicolons where values
have commas. By its name it is a flag of XLA (xla_...), an option of the config (model.norm) or else
an environment variable; the value `unset` leaves it alone. --lever replaces those of the plan.

Every part has its share of --minutes, every arm its longest time. What hangs is ended, what dies is
started anew, and the table "Not measured" says so, as of what the time did not reach: on a card
whose compiler is slow, run those parts once more with --more. FOLDER/results.json has every number
and FOLDER/tables.md the tables, by what was measured up to then; FOLDER/workers.log what compilers
and drivers said. The tables are printed, and with --write take the place of a section of that file.
"""

import argparse
import importlib.util
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import gpu_parts
import input_tables
from gpu_arms import FULL, SMALL, lever
from gpu_measure import PARTS, RESULTS, Bench, Options, Results
from gpu_sides import JAX, PYTORCH
from gpu_tables import tables
from results import Table, section, write

HEADING = {False: "On a GPU", True: "On a GPU, in miniature"}  # by --small


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--folder", type=Path, default=Path("measured"), help="for results, caches and logs"
    )
    made.add_argument("--more", action="store_true", help="keep what results.json has of others")
    made.add_argument("--small", action="store_true", help="small networks, for any machine")
    made.add_argument("--parts", default=",".join(PARTS), help="with commas between them")
    made.add_argument("--lever", action="append", help="NAME=VALUE,VALUE; may be repeated")
    made.add_argument("--arm", help="that --lever is pulled on; ABE-8 unless said")
    made.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    made.add_argument("--arm-seconds", type=float, default=150.0, help="for one arm to compile")
    made.add_argument(
        "--compile-seconds", type=float, default=240.0,
        help="that torch.compile is waited for once all else is done",
    )  # fmt: skip
    made.add_argument("--rounds", type=int, default=15, help="that a median is over")
    made.add_argument("--steps", type=int, default=4, help="of a round, without waiting between")
    made.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    made.add_argument("--write", type=Path, metavar="PATH", help="put the tables into this file")
    return made


def options(arguments: argparse.Namespace) -> Options:
    """What the arguments ask for.

    Raises:
        ValueError: an unknown part or arm, or a lever that is none.
    """
    parts = tuple(arguments.parts.split(","))
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"--parts: no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    plan = SMALL if arguments.small else FULL
    arm, arms = arguments.arm or plan.switched, [arm.name for arm in plan.paper]
    if arm not in arms:
        raise ValueError(f"--arm: no {arm!r}; there are {', '.join(map(repr, arms))}")
    pulled = [(arm, text) for text in arguments.lever] if arguments.lever else plan.levers
    return Options(
        plan=plan,
        levers=tuple(lever(*each) for each in pulled),
        parts=parts,
        folder=arguments.folder,
        rounds=arguments.rounds,
        steps=arguments.steps,
        seconds=60 * arguments.minutes,
        arm_seconds=arguments.arm_seconds,
        compile_seconds=arguments.compile_seconds,
        torch=not arguments.no_torch and importlib.util.find_spec("torch") is not None,
    )


def earlier(path: Path, parts: Sequence[str]) -> Results:
    """What an earlier run left, without the parts that are to be measured."""
    results = Results(**json.loads(path.read_text()))
    results.rows = [row for row in results.rows if row["part"] not in parts]
    results.missing = []
    return results


def shown(results: Results) -> list[Table]:
    """The tables of all parts."""
    made = tables(results)
    if results.input:
        rates = {
            row["arm"]: row["peer"]["batch"] / sorted(row["seconds"])[len(row["seconds"]) // 2]
            for row in results.rows
            if row["framework"] == JAX and row["part"] in ("paper", "large") and row["seconds"]
        }
        said = "; ".join(f"{arm} {rate:,.0f}" for arm, rate in rates.items())
        made.append(
            input_tables.table(results.input, f" Steps take, images/s: {said}." * bool(said))
        )
    return made


def told(results: Results) -> str:
    """What was measured on."""
    found = results.machines
    return ". ".join(found[by] for by in (JAX, PYTORCH) if by in found) + "."


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments = parser().parse_args(argv)
    try:
        asked = options(arguments)
    except ValueError as error:
        sys.exit(str(error))
    asked.folder.mkdir(parents=True, exist_ok=True)
    path, heading = asked.folder / RESULTS, HEADING[arguments.small]
    more = arguments.more and path.exists()

    def show(results: Results) -> None:
        text = section(shown(results), heading=heading, facts=told(results))
        (asked.folder / "tables.md").write_text(text)

    bench = Bench(asked, earlier(path, asked.parts) if more else Results(), show)
    if not asked.torch and not arguments.no_torch:
        bench.miss("PyTorch", "it is not installed")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    try:
        gpu_parts.run(bench)
    finally:  # also where it is interrupted: no worker may outlive this process
        bench.end()
        bench.keep()
        print(told(bench.results), *shown(bench.results), sep="\n\n")
    if arguments.write is not None:
        write(arguments.write, shown(bench.results), heading=heading, facts=told(bench.results))


if __name__ == "__main__":
    main(sys.argv[1:])
