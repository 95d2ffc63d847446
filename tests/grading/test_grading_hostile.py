"""Text that was written to harm: it gets a status, runs nothing and stops nobody else."""

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.grading import math_pool
from rlvr_dynamics.grading.answer_text import normalise
from rlvr_dynamics.grading.grade import STATUSES, grade, grade_many
from rlvr_dynamics.grading.math_limits import over_limit
from rlvr_dynamics.grading.same_answer import decide

# A gold answer that is a product over an index itself lets an answer be one.
SLOW_GOLD = r"\prod_{k=1}^{3} k^k"
SLOW = r"\prod_{k=1}^{999} k^k"

HOSTILE = {
    "tower": (r"9^9^9^9", "limit"),
    "braced tower": (r"9^{9^{9^9}}", "limit"),
    "python tower": ("9**9**9**9", "limit"),
    "large power": (r"9^{99999}", "incorrect"),
    "power of a power": (r"(9^{999})^{999}", "incorrect"),
    "factorial tower": ("((10!)!)!", "limit"),
    "factorial": ("99999!", "incorrect"),
    "double factorial": ("9!!!!", "limit"),
    "binomial": (r"\binom{10000000}{5000000}", "limit"),
    "choose": (r"{10000000 \choose 5000000}", "limit"),
    "nested radicals": (r"\sqrt{" * 30 + "2" + "}" * 30, "limit"),
    "nested fractions": (r"\frac{1}{1+" * 30 + "1" + "}" * 30, "limit"),
    "digits": ("7" * 10_000_000, "limit"),
    "decimals": ("0." + "3" * 10_000_000, "limit"),
    "null byte": ("5\x00", "limit"),
    "products": (r"\prod_{k=1}^{99} \prod_{j=1}^{99} jk", "incorrect"),
    "right to left": ("\u202e5", "incorrect"),
    "surrogate": ("5\ud800", "incorrect"),
    "import": ("__import__('os').abort()", "incorrect"),
    "dunder": ("().__class__.__base__.__subclasses__()", "incorrect"),
    "lambda": ("(lambda: 0)()", "incorrect"),
    "zero division": (r"\frac{1}{0}", "incorrect"),
    "text": (r"\text{" + "a b " * 90 + "}", "incorrect"),
    "input": (r"\input{/etc/passwd}", "incorrect"),
    "write": (r"\immediate\write18{touch x}", "incorrect"),
}


@pytest.mark.parametrize("gold", ["5", r"\frac{x}{2}"])
def test_hostile_answers_get_their_status_at_once(gold):
    grade(gold, r"\boxed{y+1}")  # the pool starts on first use
    began = time.monotonic()
    grades = grade_many([(gold, f"\\boxed{{{text}}}") for text, _ in HOSTILE.values()])
    statuses = {name: given.status for name, given in zip(HOSTILE, grades, strict=True)}
    assert statuses == {name: status for name, (_, status) in HOSTILE.items()}
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("response", "statuses"),
    [
        (r"\boxed" + "{" * 1_000_000, {"limit"}),
        ("}" * 1_000_000 + r"\boxed{5}", {"correct"}),
        (r"\boxed{" * 200_000, {"no_answer"}),
        ("{" * 1_000_000, {"no_answer"}),
        ("answer is " * 100_000, {"no_answer", "incorrect"}),
        ("the answer is" + "\n" * 1_000_000, {"no_answer"}),
        ("1," * 500_000, {"incorrect"}),
        ("-" * 1_000_000, {"no_answer"}),
        ("$" * 1_000_000, {"no_answer"}),
        ("\\" * 1_000_000, {"no_answer"}),
        ("\u202e\u2066" * 100_000 + r"\boxed{5}", {"correct"}),
    ],
)
def test_long_responses_are_scanned_in_time(response, statuses):
    began = time.monotonic()
    assert grade("5", response).status in statuses
    assert time.monotonic() - began < 30


@given(st.text(alphabet="0123456789 {}()[]\\^_,.$*/+-<>=!%abefgimnorstx", max_size=400))
@settings(max_examples=300, deadline=10_000)
def test_rules_without_algebra_end_quickly_on_any_text(text):
    if not over_limit(text):
        normal = normalise(text)
        decide(normal, "5")
        decide("5", normal)
        assert decide(normal, normal) == ("equal", True)


@pytest.mark.parametrize(
    "unit",
    ["{", "\\frac", "{{", "1 ", "1,", "\\text{", "*", "$", "^\\circ", "√(", "\\,", "> ", ". "],
)
def test_rules_without_algebra_end_quickly_on_repetition(unit):
    text = (unit * 400)[:400]
    began = time.monotonic()
    for _ in range(10):
        decide(normalise(text), normalise("5" + text))
    assert time.monotonic() - began < 10


PAYLOADS = [
    "__import__('pathlib').Path('{0}').touch()",
    "().__class__.__base__.__subclasses__() or open('{0}','w')",
    r"\text{{__import__('os').system('touch {0}')}}",
    "open('{0}','w')+1",
    "eval(\"open('{0}','w')\")",
    "exec(\"open('{0}','w')\")",
    "sympify(\"open('{0}','w')\")",
    r"\operatorname{{open}}('{0}','w')",
    r"\mathrm{{eval}}(open('{0}','w'))",
    r"\input{{|touch {0}}}",
    r"\immediate\write18{{touch {0}}}",
    "$(touch {0})",
    "`touch {0}`",
    "; touch {0}",
    "[open('{0}','w') for x in (1,)]",
    "(lambda: open('{0}','w'))()",
    "x; import os; os.system('touch {0}')",
    "{{{{7*7}}}} {{% import os %}}{0}",
    "!!python/object/apply:os.system ['touch {0}']",
    "cos\nsystem\n(S'touch {0}'\ntR.",
]


def test_planted_code_never_runs(tmp_path):
    planted = tmp_path / "planted"
    responses = []
    for wrapping in (r"\boxed{%s}", "The answer is %s", "$%s$", r"\boxed{\frac{%s}{2}}", "%s"):
        responses += [wrapping % payload.format(planted) for payload in PAYLOADS]
    task = (
        '{"answer": "2+3", "metadata":'
        ' {"source_dataset": "countdown", "numbers": [2, 3], "target": 5}}'
    )
    golds = {"math": ["5", r"\frac{x}{2}"], "integer": ["5"], "letter": ["A"]}
    try:
        import reasoning_gym  # noqa: F401

        golds["reasoning_gym"] = [task]
    except ImportError:
        pass
    for kind, rights in golds.items():
        for right in rights:
            grades = grade_many([(right, response) for response in responses], kind=kind)
            assert "correct" not in {given.status for given in grades} or kind == "letter"
    assert not list(tmp_path.iterdir())


def test_a_slow_comparison_is_a_timeout_and_the_pool_lives_on():
    pairs = [(SLOW_GOLD, f"\\boxed{{{SLOW}}}"), (r"\frac{x}{2}", r"\boxed{x/2}")]
    assert [g.status for g in grade_many(pairs, time_limit=0.5)] == ["timeout", "correct"]
    assert grade(*pairs[1]).status == "correct"


def _hang(kind, pairs, time_limit):
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
    if any(answer == "hang" for _, answer in pairs):
        time.sleep(60)
    return ["correct"] * len(pairs)


def _die(kind, pairs, time_limit):
    import os
    import signal

    if any(answer == "die" for _, answer in pairs):
        os.kill(os.getpid(), signal.SIGKILL)
    return ["correct"] * len(pairs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "answer", "status"), [(_hang, "hang", "timeout"), (_die, "die", "crash")]
)
def test_a_worker_that_ignores_its_alarm_is_killed_and_costs_nobody_else(
    monkeypatch, behaviour, answer, status
):
    monkeypatch.setattr(math_pool, "compare_chunk", behaviour)
    monkeypatch.setattr(math_pool, "KILL_FACTOR", 2)
    pairs = [("x", "x+1"), ("x", answer), ("x", "x+2")]
    statuses = math_pool.run_in_pool("math", pairs, 0.3)
    assert statuses == {pairs[0]: "correct", pairs[1]: status, pairs[2]: "correct"}
    monkeypatch.undo()
    assert grade(r"\frac{x}{2}", r"\boxed{\frac{2x}{4}}").status == "correct"


def _in_a_process_of_its_own(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.split()


def test_a_busy_machine_makes_no_timeout():
    code = (
        "import time\n"
        "from rlvr_dynamics.grading import math_worker as w\n"
        "w.start()\n"
        "def waits(gold, answer):\n"
        "    time.sleep(0.6)\n"
        "    return 'correct'\n"
        "def works(gold, answer):\n"
        "    while True: pass\n"
        "w._COMPARISONS['math'] = waits\n"
        "print(w.compare('math', 'x', 'x', 0.2))\n"
        "w._COMPARISONS['math'] = works\n"
        "print(w.compare('math', 'x', 'x', 0.2))\n"
    )
    assert _in_a_process_of_its_own(code) == ["correct", "timeout"]


def test_a_comparison_that_eats_memory_is_stopped():
    code = (
        "from rlvr_dynamics.grading import math_worker as w\n"
        "w.start(growth_limit=40 << 20)\n"
        "print(w.compare('math', '(a+b)^2', r'(a+b+c+d+e+f)^{99}', 60.0))\n"
        "print(w.compare('math', r'\\frac{x}{2}', 'x/2', 60.0))\n"
    )
    assert _in_a_process_of_its_own(code) == ["limit", "correct"]


def test_grading_from_several_threads_at_once():
    found = {}

    def work(n):
        pairs = [
            (f"\\frac{{x}}{{{n}}}", f"\\boxed{{\\frac{{{k}x}}{{{n * k}}}}}") for k in (2, 3, 5)
        ]
        found[n] = {given.status for given in grade_many(pairs)}

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == {n: {"correct"} for n in range(2, 8)}


@given(st.text(max_size=100))
@settings(max_examples=25)
def test_any_text_gets_a_status_from_the_whole_grader(text):
    assert grade("5", f"\\boxed{{{text}}}").status in STATUSES


@pytest.mark.slow
def test_grading_inside_ray_workers():
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:

        @ray.remote
        def work(pairs, time_limit):
            from rlvr_dynamics.grading.grade import grade_many

            return [given.status for given in grade_many(pairs, time_limit=time_limit)]

        @ray.remote(max_concurrency=2)
        class Rewards:
            """Methods of a concurrent actor run off the main thread, as verl's reward loop does."""

            def score(self, gold, response):
                import threading

                from rlvr_dynamics.training.reward import compute_score

                assert threading.current_thread() is not threading.main_thread()
                return compute_score("openai/gsm8k", response, gold)

        pairs = [
            (r"\frac{x}{3}", r"\boxed{\frac{2x}{6}}"),
            (SLOW_GOLD, f"\\boxed{{{SLOW}}}"),
            ("5", r"\boxed{9^9^9^9}"),
            ("5", r"\boxed{6}"),
        ]
        tasks = [work.remote(pairs, 1.0) for _ in range(2)]
        for statuses in ray.get(tasks, timeout=240):
            assert statuses == ["correct", "timeout", "limit", "incorrect"]
        actor = Rewards.remote()
        scores = ray.get(
            [
                actor.score.remote(r"\frac{x}{3}", f"\\boxed{{\\frac{{{k}x}}{{{3 * k}}}}}")
                for k in (2, 4)
            ],
            timeout=240,
        )
        assert [score["score"] for score in scores] == [1.0, 1.0]
    finally:
        ray.shutdown()
