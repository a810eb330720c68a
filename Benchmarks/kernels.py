"""The codec's and the engine's inner parts by themselves, and where wanted beside an earlier build's."""
import json
import math
import os
import subprocess

from processes import say

HERE = os.path.dirname(os.path.abspath(__file__))
EXPRESSIONS = os.path.join(HERE, "promql-expressions.tsv")
PROGRAM = "petrel-kernels"
SECONDS_MAX = 900
# Cases whose time changed by more than this are named.
CHANGE_MIN = 0.1


def measured(program, kernel, options):
    """{(kernel, case, steps): line} of one run."""
    with open(EXPRESSIONS if kernel == "engine" else os.devnull) as expressions:
        done = subprocess.run(
            [program, kernel, "--case-seconds", str(options.case_seconds)], stdin=expressions, capture_output=True,
            text=True, timeout=SECONDS_MAX)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if not lines:
        raise RuntimeError(f"{program} {kernel}: {done.returncode} {done.stderr.strip()[-500:]}")
    for line in lines:
        if "error" in line:
            options.fail(f"kernels: {line['case']}: {line['error']}")
    return {(line["kernel"], line["case"], line.get("steps", 0)): line for line in lines if "error" not in line}


def faster(one, other):
    """Of two runs the better one, case by case: what a neighbour took is not counted."""
    return {key: min(line, other.get(key, line), key=lambda line: line["least_ms"]) for key, line in one.items()}


def kernels(options, figures):
    program = os.path.join(options.programs, PROGRAM)
    earlier = os.path.join(options.against, PROGRAM) if options.against else None
    for path in filter(None, [program, earlier]):
        if not os.path.exists(path):
            raise RuntimeError(f"{path} is not there: build that revision with `swift build -c release`")
    ours, theirs = {}, {}
    for kernel in ("codec", "engine"):
        say(f"{kernel}")
        now = measured(program, kernel, options)
        if earlier:
            # In turn, twice.
            before = measured(earlier, kernel, options)
            now = faster(now, measured(program, kernel, options))
            theirs.update(faster(before, measured(earlier, kernel, options)))
        ours.update(now)
    if options.json:
        with open(options.json + ".kernels", "w") as f:
            f.writelines(json.dumps(line) + "\n" for line in ours.values())
    codec(ours, theirs, figures, options.against)
    engine(ours, theirs, figures, options)


def time_of(line, against):
    """Milliseconds of one run: the median; beside another build the least, which neighbours disturb less."""
    return line["least_ms" if against else "median_ms"]


def codec(ours, theirs, figures, against):
    section = figures.section("kernels: codec", ["earlier"] if against else [])

    def rate(line):
        return line["samples"] / time_of(line, against) / 1e3
    for key, line in ours.items():
        if not key[0].startswith("codec"):
            continue
        old = theirs.get(key)
        section.row(f"{key[0][6:]} {key[1]}: million samples a second", rate(line), old and {"earlier": rate(old)}, "", 1)
        if key[0] == "codec encode":
            section.row("  bytes a sample", line["bytes_per_sample"], old and {"earlier": old["bytes_per_sample"]}, "", 3)


def engine(ours, theirs, figures, options):
    lines = {key: line for key, line in ours.items() if key[0] == "engine"}
    section = figures.section("kernels: engine", ["earlier"] if options.against else [])

    def mean(of, keys):
        """The geometric mean of their times."""
        return math.exp(sum(math.log(time_of(of[key], options.against)) for key in keys) / len(keys))
    for steps in sorted({key[2] for key in lines}):
        # An earlier build may lack some.
        keys = [key for key in lines if key[2] == steps and (key in theirs or not options.against)]
        if keys:
            section.row(f"{len(keys)} expressions over {steps:,} steps, geometric mean", mean(lines, keys),
                        {"earlier": mean(theirs, keys)} if options.against else None, "ms", 3)
    for key, line in lines.items():
        old = theirs.get(key)
        if old and old["points"] != line["points"]:
            options.fail(f"kernels: {key[1]}: {line['points']} points where there were {old['points']}")
        now, before = time_of(line, options.against), time_of(old, True) if old else None
        changed = old and abs(math.log(now / before)) > math.log(1 + CHANGE_MIN)
        if changed or options.all_cases and not options.against:
            section.row(f"{key[1]}, {key[2]:,} steps", now, {"earlier": before} if old else None, "ms", 3)
