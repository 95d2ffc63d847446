"""Training and scoring give one verdict: a rollout that the token limit cut off earns nothing."""

import asyncio
import json
import types

import numpy as np
import pytest

from rlvr_dynamics.grading.grade import grade_finished
from rlvr_dynamics.training.reward import ROLLOUT
from rlvr_dynamics.training.rollout_counts import FOLDER_VARIABLE, counts

pytest.importorskip("verl")
torch = pytest.importorskip("torch")

LIMIT, END, OTHER_END = 8, 2, 3
QUESTION = r"Simplify $\frac{6}{8}$."


class Letters:
    """A tokenizer of one character a token."""

    eos_token_id = END

    def encode(self, text):
        return [ord(character) for character in text]

    def decode(self, tokens, skip_special_tokens):
        assert skip_special_tokens
        return "".join(chr(token) for token in tokens.tolist() if token not in (END, OTHER_END))


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """Build one of the two managers as verl does, with the reward of this project."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import load_reward_manager

    from rlvr_dynamics.training.verl_command import MANAGERS, MANAGERS_FILE, REWARD_FILE

    model = tmp_path_factory.mktemp("model")
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [END, OTHER_END]}))

    def build(name, limit):
        config = OmegaConf.create(
            {
                "actor_rollout_ref": {"model": {"path": str(model)}},
                "data": {"max_response_length": limit},
                "reward": {
                    "custom_reward_function": {"path": str(REWARD_FILE), "name": "compute_score"},
                    "reward_manager": {
                        "source": "importlib",
                        "name": MANAGERS[name],
                        "module": {"path": str(MANAGERS_FILE)},
                    },
                    "reward_kwargs": {},
                },
            }
        )
        return load_reward_manager(config, Letters())

    return build


def rollout(text, gold, end, shared):
    from tensordict import TensorDict
    from verl import DataProto

    tokens = torch.tensor([Letters().encode(text) + ([] if end is None else [end])])
    message = np.empty((1, 1), dtype=object)
    message[0, 0] = {"role": "user", "content": QUESTION}
    info = np.empty(1, dtype=object)
    info[0] = shared
    return DataProto(
        batch=TensorDict(
            {"responses": tokens, "attention_mask": torch.ones_like(tokens)}, batch_size=1
        ),
        non_tensor_batch={
            "data_source": np.array(["math"], dtype=object),
            "reward_model": np.array([{"ground_truth": gold}], dtype=object),
            "extra_info": info,
            "raw_prompt": message,
        },
    )


# Response, gold, end token, whether the limit is reached.
ROLLOUTS = [
    ("So it is 4", "4", None, True),
    ("So it is 4", "4", END, True),
    ("So it is 4", "4", OTHER_END, True),
    ("So it is 4", "4", None, False),
    (r"\boxed{4}", "4", None, True),
    (r"\boxed{4} so \boxed{", "4", None, True),
    (r"\boxed{4} so \boxed{", "4", END, False),
    (r"\boxed{} 4", "4", END, False),
    (r"\boxed{\frac{6}{8}}", r"\frac{3}{4}", END, False),
    (r"\boxed{\frac{3}{4}}", r"\frac{3}{4}", END, False),
]


@pytest.mark.parametrize("name", ["naive", "dapo"])
def test_training_and_scoring_give_one_verdict(manager, name):
    for text, gold, end, full in ROLLOUTS:
        length = len(text) + (end is not None)
        shared = {"index": 1}
        built = manager(name, length if full else length + 1)
        trained = asyncio.run(_scored(built, rollout(text, gold, end, shared)))
        reason = "length" if full and end is None else "stop"
        scored = grade_finished([(gold, text)], [reason], "math", [QUESTION])[0]
        assert trained["reward_score"] == scored.score, (text, end, full)
        facts = trained["reward_extra_info"]
        assert facts["truncated"] == float(scored.status == "truncated")
        # Samples of one question share what the table says of it.
        assert shared == {"index": 1} or "cut_at_limit" not in shared


async def _scored(manager, data):
    manager.loop = asyncio.get_running_loop()
    return await manager.run_single(data)


def test_what_is_cut_earns_nothing_and_what_ends_at_the_limit_earns_its_reward(manager):
    built = manager("naive", 11)
    cut = asyncio.run(_scored(built, rollout("So it is 44", "44", None, {})))
    ended = asyncio.run(_scored(built, rollout("So it is 4", "4", END, {})))
    assert (cut["reward_score"], ended["reward_score"]) == (0.0, 1.0)
    assert cut["reward_extra_info"]["truncated"] == 1.0


@pytest.mark.parametrize("name", ["naive", "dapo"])
def test_what_a_manager_grades_is_counted(manager, name, tmp_path, monkeypatch):

    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    built = manager(name, 100)
    for text, step, split in (
        ("So it is 4", 3, "train"),
        ("So it is 5", 3, "train"),
        ("So it is 4", 3, "val"),
    ):
        data = rollout(text, "4", END, {"split": split, "index": 1})
        data.non_tensor_batch |= {"global_steps": np.array([step]), "uid": np.array(["a"])}
        asyncio.run(_scored(built, data))
    found = counts(tmp_path)[3]
    shares = {key: found[f"rollouts/{key}"] for key in ("problems", "answers", "acc_exact")}
    assert shares == {"problems": 1, "answers": 2, "acc_exact": 0.5}
    assert (found["validation/answers"], found["validation/acc_exact"]) == (1, 1.0)


def test_a_folder_without_generation_config_ends_at_the_tokenizers_token(tmp_path):
    from rlvr_dynamics.training.reward_managers import end_tokens, is_cut

    ends = end_tokens(types.SimpleNamespace(eos_token_id=END), tmp_path)
    assert ends == {END}
    assert is_cut([7, 7], 2, ends) and not is_cut([7, END], 2, ends) and not is_cut([7], 2, ends)


def test_the_coin_is_told_step_and_place_of_the_rollout(manager):
    built = manager("naive", 99)
    seen = {}
    plain = built.compute_score

    def noted(**given):
        seen.update(given["extra_info"])
        return plain(**given)

    built.compute_score = noted
    data = rollout("So it is 4", "4", END, {"split": "train", "index": 7})
    data.non_tensor_batch |= {"global_steps": np.array([3]), "session_id": np.array([5])}
    asyncio.run(_scored(built, data))
    assert {name: seen[name] for name in ROLLOUT} == {
        "split": "train",
        "index": 7,
        "global_steps": 3,
        "session_id": 5,
    }
