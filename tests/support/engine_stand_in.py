"""Scoring without vLLM: three one-digit models, two benchmarks, and a fake engine."""

import json
import sys

import pandas as pd
import pytest

from rlvr_dynamics.scoring import engine_process
from rlvr_dynamics.scoring.generation import (
    PROOF_FILE,
    EngineSettings,
    Protocol,
    ScoredModel,
    score_models,
)

GREEDY = Protocol("greedy", temperature=0.0, top_p=1.0, samples=1, max_tokens=16)
SAMPLED = Protocol("sampled", temperature=1.0, top_p=1.0, samples=4, max_tokens=16)
SETTINGS = EngineSettings(device="cpu", dtype="float32", max_model_len=256, stall_seconds=60.0)

# The real engine module on a stand-in for vLLM, whose model is one digit in a file.
FAKE_ENGINE = """
import json, os, random, signal, sys, time, types
from pathlib import Path
from types import SimpleNamespace as Bag

HERE = Path(__file__).parent
MODE = (HERE / "mode").read_text() if (HERE / "mode").exists() else ""

def wait_until(true):
    until = time.monotonic() + 60.0
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)

class Tokenizer:
    def apply_chat_template(self, messages, tokenize, add_generation_prompt, **more):
        said = "".join(f"<{m['role']}>{m['content']}" for m in messages)
        return f"{said}<model>" + "".join(f"{k}={v}" for k, v in more.items())
    def get_vocab(self):
        return {"<|im_end|>": 5}
    def encode(self, text, **_):
        return [ord(character) for character in text]
    def batch_decode(self, ids, **_):
        return ["".join(map(chr, row)) for row in ids]

class LLM:
    def __init__(self, model, **_):
        self.load(model)
        self.batches = 0
        self.llm_engine = Bag(
            engine_core=Bag(shutdown=lambda: None), get_num_unfinished_requests=lambda: 0,
            step=lambda: time.sleep(0.01),
        )
    def load(self, folder):
        self.digit = int((Path(folder) / "digit").read_text())
    def get_tokenizer(self):
        return Tokenizer()
    def reset_prefix_cache(self):
        pass
    def collective_rpc(self, method, kwargs=None, args=()):
        if callable(method):  # seeds the generators
            self.stream = random.Random(*args)
            return
        if MODE == "raise":
            raise RuntimeError("cannot reload")
        if MODE != "stale":
            self.load(kwargs["weights_path"])
    def generate(self, prompts, params, use_tqdm):
        if not isinstance(params, list):
            return [Bag(prompt_token_ids=p["prompt_token_ids"], prompt_logprobs=[None] + [
                {t: Bag(logprob=-0.01 * t * (1 + self.digit))} for t in p["prompt_token_ids"][1:]
            ]) for p in prompts]
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        if MODE.startswith("die on"):
            if MODE == f"die on {gpus}":
                print("the engine is about to die", flush=True)
                (HERE / "dead").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            wait_until((HERE / "dead").exists)
        if MODE == "stuck" and self.digit == 0 and not (HERE / "stuck").exists():
            (HERE / "stuck").touch()
            (HERE / "engines").touch()
            wait_until(lambda: len((HERE / "engines").read_text().splitlines()) == 11)
        if MODE == "meet":
            (HERE / "met").mkdir(exist_ok=True)
            (HERE / "met" / str(os.getpid())).touch()
            wait_until(lambda: len(list((HERE / "met").iterdir())) == 2)
        if MODE == "die" and self.batches == 2:
            print("the engine is about to die", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if MODE == "hang":
            (HERE / "pid").write_text(str(os.getpid()))
            time.sleep(600)
        if MODE == "steps":
            until = time.monotonic() + 11.0
            while time.monotonic() < until:
                self.llm_engine.step()
        self.batches += 1
        with (HERE / "engines").open("a") as engines:
            engines.write(json.dumps([self.digit, os.getpid(), gpus]) + "\\n")
        with (HERE / "calls").open("a") as calls:
            calls.write(f"{self.digit} {len(prompts)}\\n")
        with (HERE / "params").open("a") as asked:
            for p in params:
                asked.write(json.dumps([p.max_tokens, p.stop_token_ids]) + "\\n")
        drawn = [p.seed if p.seed is not None or not p.temperature else self.stream.getrandbits(31)
            for p in params]
        texts = ["\\\\boxed{%d}" % (self.digit if s is None else s % 10) for s in drawn]
        texts = [t[: p.max_tokens] for t, p in zip(texts, params)]
        return [Bag(outputs=[Bag(token_ids=[ord(c) for c in t],
                finish_reason="stop" if t.endswith("}") else "length")]) for t in texts]

vllm = types.ModuleType("vllm")
vllm.LLM, vllm.SamplingParams = LLM, Bag
sys.modules.update({"vllm": vllm, "vllm._custom_ops": types.ModuleType("vllm._custom_ops"),
    "vllm.distributed": Bag(cleanup_dist_env_and_memory=lambda: None)})
vllm._custom_ops = sys.modules["vllm._custom_ops"]

from rlvr_dynamics.scoring import engine
code = engine.main(sys.argv[1])
sys.stdout.flush()
os._exit(code)
"""


def write_benchmark(path, questions, **columns):
    table = pd.DataFrame(
        {
            "question_id": [f"{path.stem}-{i}" for i in range(questions)],
            "prompt": [f"{i}+1=" for i in range(questions)],
            "gold": [str((i + 1) % 10) for i in range(questions)],
            "kind": "integer",
            "split": "in_domain",
            "title": path.stem.title(),
        }
    ).assign(**columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)
    return path


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a run directory with three models and two benchmarks, and the stand-in engine."""
    models = []
    for digit in range(3):
        folder = tmp_path / "models" / str(digit)
        folder.mkdir(parents=True)
        (folder / "digit").write_text(str(digit))
        (folder / "config.json").write_text(json.dumps({"hidden_size": 8, "dtype": f"d{digit}"}))
        (folder / "chat_template.jinja").write_text("a template")
        models.append(ScoredModel(f"step_{digit + 1}", folder, f"weights {digit}"))
    script = tmp_path / "fake_engine.py"
    script.write_text(FAKE_ENGINE)
    monkeypatch.setattr(
        engine_process, "engine_command", lambda job: [sys.executable, str(script), str(job)]
    )
    return Fake(tmp_path, models)


class Fake:
    def __init__(self, root, models):
        self.root, self.models = root, models
        self.out = root / "scores" / "samples"
        self.benchmarks = {
            name: write_benchmark(root / "benchmarks" / f"{name}.parquet", questions)
            for name, questions in (("chain", 5), ("long", 3))
        }
        self.protocols = [GREEDY, SAMPLED]
        self.settings = SETTINGS

    def mode(self, mode):
        (self.root / "mode").write_text(mode)

    def run(self, seed=7, **changes):
        """Score; return the generated batches as (digit of the model, answers)."""
        (self.root / "calls").unlink(missing_ok=True)
        (self.root / "params").unlink(missing_ok=True)
        (self.root / "engines").unlink(missing_ok=True)
        self.work = score_models(
            changes.pop("models", self.models),
            changes.pop("benchmarks", self.benchmarks),
            changes.pop("protocols", self.protocols),
            changes.pop("settings", self.settings),
            self.out,
            seed,
            **changes,
        )
        return self.calls()

    def calls(self):
        file = self.root / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return sorted(tuple(map(int, line.split())) for line in lines)

    def answered_by(self):
        """Return who answered each batch, in order: (digit of the model, process, its GPUs)."""
        lines = (self.root / "engines").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    def params(self):
        """Return each request's limits: (longest answer, further stop tokens)."""
        return [json.loads(line) for line in (self.root / "params").read_text().splitlines()]

    def content(self):
        return {str(p.relative_to(self.out)): p.read_bytes() for p in self.out.rglob("*.parquet")}

    def proof(self):
        return json.loads((self.out.parent / PROOF_FILE).read_text())


ALL = [(digit, answers) for digit in range(3) for answers in (8, 32)]
