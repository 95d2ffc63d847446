"""Speed of grading, the cost of hostile answers, and whether memory stays flat.

The workload imitates an evaluation: questions with several samples each, the shapes of the gold
answers in the proportions of MATH-500, half of the answers right (some written differently), and
the wrong ones drawn from a few per question, like a model's mistakes.
"""

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil

from perf.report import Part, Row
from perf.settings import Settings
from rlvr_dynamics.grading.grade import TIME_LIMIT, grade_many, grader_version

SAMPLES = 20
HOSTILE_SHARE = 0.01
SLOW = 2
# Such an answer is computed only if the gold answer is also a product over an index.
SLOW_GOLD = r"\prod_{k=1}^{3} k^k"

Pair = tuple[str, str]
Shape = Callable[[random.Random], tuple[str, str]]


def _integer(draw: random.Random) -> tuple[str, str]:
    value = draw.randint(-50, 3000)
    return str(value), draw.choice(
        [f"{value}.0", f"{value:,}", f"x={value}", f"{value}\\text{{ cm}}"]
    )


def _fraction(draw: random.Random) -> tuple[str, str]:
    above, below = draw.randint(1, 99), draw.randint(2, 60)
    return f"\\frac{{{above}}}{{{below}}}", f"{above}/{below}"


def _radical(draw: random.Random) -> tuple[str, str]:
    factor, root = draw.randint(2, 40), draw.choice([2, 3, 5, 6, 7, 10, 11, 13])
    return f"{factor}\\sqrt{{{root}}}", f"{factor} \\cdot \\sqrt{{{root}}}"


def _circle(draw: random.Random) -> tuple[str, str]:
    factor, below = draw.randint(1, 90), draw.randint(1, 9)
    return f"\\frac{{{factor}\\pi}}{{{below}}}", f"\\frac{{{factor}}}{{{below}}}\\pi"


def _degrees(draw: random.Random) -> tuple[str, str]:
    value = draw.randint(1, 179)
    return f"{value}^\\circ", str(value)


def _point(draw: random.Random) -> tuple[str, str]:
    x, y = draw.randint(-20, 20), draw.randint(-20, 20)
    return f"({x},{y})", f"\\left( {x}, {y} \\right)"


def _polynomial(draw: random.Random) -> tuple[str, str]:
    a, b, c = (draw.randint(2, 12) for _ in range(3))
    return f"{a}x^2+{b}x+{c}", f"{c}+{b}x+{a}x^2"


def _complex(draw: random.Random) -> tuple[str, str]:
    a, b = draw.randint(1, 20), draw.randint(2, 20)
    return f"{a}+{b}i", f"{b}i+{a}"


def _word(draw: random.Random) -> tuple[str, str]:
    word = draw.choice(["Evelyn", "east", "even", "ellipse", "Navin", "Tuesday", "increasing"])
    return f"\\text{{{word}}}", word


# Counts of the 500 gold answers of MATH-500, by the closest shape.
SHAPES: list[tuple[Shape, float]] = [
    (_integer, 0.65),
    (_fraction, 0.11),
    (_radical, 0.05),
    (_circle, 0.02),
    (_degrees, 0.03),
    (_point, 0.06),
    (_polynomial, 0.05),
    (_complex, 0.01),
    (_word, 0.02),
]


def ordinary(count: int, seed: int) -> list[Pair]:
    """Draw (gold, response) pairs, `SAMPLES` per question."""
    draw = random.Random(seed)  # noqa: S311 - a workload, not a secret
    pairs: list[Pair] = []
    while len(pairs) < count:
        shape = draw.choices([s for s, _ in SHAPES], [share for _, share in SHAPES])[0]
        gold, other = shape(draw)
        mistakes = [text for _ in range(3) for text in shape(draw)]
        for _ in range(SAMPLES):
            right = gold if draw.random() < 0.7 else other
            text = right if draw.random() < 0.5 else draw.choice(mistakes)
            pairs.append((gold, f"Adding up, we find\n\\boxed{{{text}}}."))
    draw.shuffle(pairs)
    return pairs[:count]


def hostile(count: int, seed: int, slow: int) -> list[str]:
    """Return distinct hostile responses; `slow` of them exceed the limits."""
    makers: list[Callable[[int], str]] = [
        lambda n: f"9^9^9^{n}",
        lambda n: f"9^{{9^{{{n}^9}}}}",
        lambda n: f"9**9**9**{n}",
        lambda n: f"((({n}!)!)!)!",
        lambda n: f"\\binom{{{10**7 + n}}}{{5000000}}",
        lambda n: "\\sqrt{" * 40 + str(n) + "}" * 40,
        lambda n: str(n) + "7" * 1_000_000,
        lambda n: "{" * (100_000 + n),
        lambda n: f"{n}\x00",
        lambda n: f"\u202e{n}\u2066",
        lambda n: f"__import__('os').getpid()+{n}",
        lambda n: f"().__class__.__base__.__subclasses__()[{n}]",
        lambda n: f"open('/nowhere/{n}','w')",
        lambda n: f"\\frac{{1}}{{{n}-{n}}}",
    ]
    texts = [f"\\prod_{{k=1}}^{{{900 + n}}} k^k" for n in range(slow)]
    texts += [makers[n % len(makers)](seed * count + n) for n in range(count - slow)]
    return [f"\\boxed{{{text}}}" for text in texts]


def with_hostile(pairs: list[Pair], seed: int, slow: int) -> list[Pair]:
    """Replace some ordinary responses by hostile ones."""
    draw = random.Random(seed)  # noqa: S311
    mixed = list(pairs)
    places = draw.sample(range(len(pairs)), int(len(pairs) * HOSTILE_SHARE))
    responses = hostile(len(places), seed, slow)
    for count, (place, response) in enumerate(zip(places, responses, strict=True)):
        mixed[place] = (SLOW_GOLD if count < slow else mixed[place][0], response)
    return mixed


def _processes() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def _cpu_seconds() -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _processes())


def _resident_megabytes() -> float:
    return sum(process.memory_info().rss for process in _processes()) / 1e6


def _timed(pairs: list[Pair]) -> dict[str, Any]:
    cpu, start = _cpu_seconds(), time.perf_counter()
    grades = grade_many(pairs)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": _cpu_seconds() - cpu,
        "statuses": dict(Counter(grade.status for grade in grades)),
        "resident_mb": _resident_megabytes(),
    }


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Grade ordinary answers, and the same number with hostile ones mixed in.

    Rates are answers per second of processor time, summed over this process and the workers, so
    that other work on the machine does not matter. No question occurs in two runs.
    """
    count, repeats = settings.answers, settings.repeats
    say(f"{count} answers, {repeats} times")
    first = _timed(ordinary(count, seed=1))
    runs: dict[str, list[dict[str, Any]]] = {"clean": [], "hostile": [], "slow": []}
    for repeat in range(repeats):
        seed = 10 * (repeat + 1)
        runs["clean"].append(_timed(ordinary(count, seed)))
        for name, slow, more in (("hostile", 0, 1), ("slow", SLOW, 2)):
            pairs = with_hostile(ordinary(count, seed + more), seed + more, slow)
            runs[name].append(_timed(pairs))

    def median(name: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[name])

    clean, limit = median("clean", "seconds"), "bound: twice the clean time and the time limit"
    rate = count / median("clean", "cpu_seconds")
    memory = [first["resident_mb"], runs["slow"][-1]["resident_mb"]]
    rows = [
        Row("answers per second of one core", "1/s", rate),
        Row("clean answers", "s", clean),
        Row("with 1 % hostile ones", "s", median("hostile", "seconds"), clean, "clean answers"),
        Row(
            f"with 1 % hostile ones, {SLOW} of them slow",
            "s",
            median("slow", "seconds"),
            2 * clean + TIME_LIMIT,
            limit,
        ),
        Row("resident memory at the end", "MB", memory[1], memory[0], "after the first run"),
    ]
    notes = [
        f"{SAMPLES} samples per question, so answers repeat as they do in practice.",
        "Every distinct slow answer costs up to the time limit of one core; many would break the "
        "bound.",
    ]
    details = {"answers": count, "grader": grader_version("math"), "runs": runs}
    return Part(f"Grading {count:,} mathematical answers", rows, notes, details)
