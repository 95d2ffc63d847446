"""Every step that verl saves is verified and published; what a resume needs is kept, no more."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlvr_dynamics.checkpoints import Trajectory, published_steps, read_manifest, verl_run
from rlvr_dynamics.checkpoints.cast import store_base
from rlvr_dynamics.checkpoints.published_steps import Deltas, Folders
from rlvr_dynamics.checkpoints.verl_run import LATEST, VerlRun
from rlvr_dynamics.errors import StageFailed, UserError
from tests.support.small_models import QUERY, SHAPES, random_tensors, save_model

LOGGED = range(1, 21)  # metrics of every step


@pytest.fixture
def make(tmp_path):
    """A run with a base in a dtype."""

    def build(
        dtype="float32",
        critic=False,
        keep=2,
        base=None,
        every=1,
        adapters=0,
        anchors=None,
        jump_before=None,
    ):
        if not (tmp_path / "base").exists():
            save_model(tmp_path / "base", base or random_tensors(0))
            store_base(tmp_path / "base", dtype, "test")
        return VerlRun(
            tmp_path / "verl",
            Folders(tmp_path / "published"),
            tmp_path / "base",
            keep,
            dtype=dtype,
            critic=critic,
            steps=20,
            state_every=every,
            adapters=adapters,
            anchors=anchors,
            jump_before=jump_before,
        )

    return build


def save_state(folder, ranks=1):
    folder.mkdir(parents=True, exist_ok=True)
    for rank in range(ranks):
        for kind in ("model", "optim", "extra_state"):
            path = folder / f"{kind}_world_size_{ranks}_rank_{rank}.pt"
            torch.save({"values": torch.ones(1000)}, path)


def save(run, step, tensors=None, *, critic=False, ranks=1, tie=True):
    """Write a step as verl 0.9.1 does: states, the model, the data's position, then the number."""
    state = run.verl / f"global_step_{step}"
    if step % run.state_every == 0:
        save_state(state / "actor", ranks)
    model = save_model(state / "actor" / "huggingface", tensors or random_tensors(step), tie=tie)
    # verl's own config names a dtype that is not the weights'.
    config = {"tie_word_embeddings": tie, "dtype": "bfloat16", "attn_implementation": "sdpa"}
    (model / "config.json").write_text(json.dumps(config))
    (model / "special_tokens_map.json").write_text("{}")
    if critic:
        save_state(state / "critic", ranks)
        (state / "critic" / "huggingface").mkdir()
    torch.save({"position": step}, state / "data.pt")
    (run.verl / LATEST).write_text(str(step))


def save_adapter(run, step, b, a):
    """Write a step as verl does under LoRA, with our patch of its checkpoint manager."""
    save(run, step)
    folder = run.verl / f"global_step_{step}" / "actor" / "huggingface"
    (folder / "model.safetensors").unlink()
    module = "base_model.model." + QUERY.removesuffix(".weight")
    parts = {f"{module}.lora_B.weight": b, f"{module}.lora_A.weight": a}
    save_file(parts, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_float32_is_published_as_gathered_with_the_bases_companions(make, tmp_path):
    run = make()
    save(run, 1)
    assert run.ingest() == [1]
    step = tmp_path / "published" / "step_1"
    stored, expected = load_file(step / "model.safetensors"), random_tensors(1)
    assert all(torch.equal(stored[name], expected[name]) for name in SHAPES)
    manifest = read_manifest(step)
    assert manifest["dtype"] == manifest["original_dtype"] == "float32"
    for name in ("config.json", "tokenizer.json", "chat_template.jinja"):
        assert (step / name).read_bytes() == (tmp_path / "base" / name).read_bytes()
    assert not (step / "special_tokens_map.json").exists()
    assert run.ingest() == []


def test_bfloat16_rounds_what_was_gathered_and_says_so(make, tmp_path):
    run = make("bfloat16")
    save(run, 1)
    save(run, 2)
    assert run.ingest() == [1, 2]
    stored = load_file(tmp_path / "published" / "step_2" / "model.safetensors")
    expected = random_tensors(2)
    assert all(torch.equal(stored[name], expected[name].bfloat16()) for name in SHAPES)
    manifest = read_manifest(tmp_path / "published" / "step_2")
    assert (manifest["dtype"], manifest["original_dtype"]) == ("bfloat16", "float32")
    trajectory = Trajectory.open(tmp_path / "base", tmp_path / "published")
    assert (trajectory.dtype, trajectory.steps) == ("bfloat16", (1, 2))
    trajectory.verify()
    assert not (run.verl / "global_step_2" / "actor" / "huggingface").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_are_published_merged(make, tmp_path, dtype):
    run = make(dtype, adapters=2 * (8 + 8))
    b, a = torch.ones(8, 2), torch.arange(16.0).view(2, 8)
    save_adapter(run, 1, 0 * b, a)
    save_adapter(run, 2, b, a)
    assert run.ingest() == [1, 2]
    base = load_file(tmp_path / "base" / "model.safetensors")
    kind = base[QUERY].dtype
    for step, times in ((1, 0), (2, 3)):  # alpha / rank
        found = load_file(tmp_path / "published" / f"step_{step}" / "model.safetensors")
        expected = (base[QUERY].double() + times * (b @ a).double()).float().to(kind)
        assert torch.equal(found[QUERY], expected)
        assert all(torch.equal(found[name], base[name]) for name in SHAPES if name != QUERY)
        assert not (run.verl / f"global_step_{step}" / "actor" / "huggingface").exists()
    assert "dtype" in read_manifest(tmp_path / "published" / "step_2")
    for name in ("config.json", "tokenizer.json"):
        base_file = tmp_path / "base" / name
        assert (tmp_path / "published" / "step_2" / name).read_bytes() == base_file.read_bytes()
    assert not (tmp_path / "published" / "step_2" / "adapter_config.json").exists()


def test_an_adapter_that_diverged_is_not_published(make):
    run = make(adapters=32)
    save_adapter(run, 1, torch.full((8, 2), float("nan")), torch.ones(2, 8))
    with pytest.raises(StageFailed, match="step 1: training diverged, .*lora_B"):
        run.ingest()
    assert run.published_steps() == []


def test_a_base_of_another_dtype_is_refused_at_once(make):
    make("float32")
    with pytest.raises(UserError, match="stored in float32, its checkpoints would be in bfloat16"):
        make("bfloat16")


def changed(name, value):
    return random_tensors(1) | {name: value}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (changed("model.norm.weight", torch.ones(9)), "other tensors .*model.norm.weight"),
        (changed("model.more.weight", torch.ones(9)), "other tensors .*model.more.weight"),
        (random_tensors(1, torch.bfloat16), "verl saved bfloat16, from which float32"),
        (changed("model.norm.weight", torch.ones(8, dtype=torch.float16)), "float16.float32"),
        (changed("model.norm.weight", torch.full((8,), torch.inf)), "diverged, model.norm.weight"),
    ],
)
def test_a_step_that_is_not_the_bases_model_is_not_published(make, tmp_path, tensors, words):
    run = make()
    save(run, 1, tensors)
    with pytest.raises(StageFailed, match=words):
        run.ingest()
    assert not (tmp_path / "published" / "step_1").exists()


def test_a_step_without_a_model_is_a_failure(make):
    run = make()
    save(run, 1)
    (run.verl / "global_step_1" / "actor" / "huggingface").rename(run.verl / "elsewhere")
    with pytest.raises(StageFailed, match="step 1: verl saved no model"):
        run.ingest()


def test_states_of_actor_and_critic_stay_for_the_newest_steps_only(make):
    run = make(critic=True)
    for step in range(1, 5):
        save(run, step, critic=True)
        run.ingest()
    assert names(run.verl) == ["global_step_3", "global_step_4", LATEST]
    assert (run.verl / "global_step_3" / "critic" / "optim_world_size_1_rank_0.pt").exists()
    assert run.published_steps() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("damage", "critic"),
    [
        ("actor/optim_world_size_2_rank_1.pt", False),
        ("critic/model_world_size_2_rank_0.pt", True),
        ("critic/extra_state_world_size_2_rank_1.pt", True),
        ("data.pt", False),
    ],
)
@pytest.mark.parametrize("kind", ["cut", "gone"])
def test_a_resume_takes_the_newest_whole_state(make, damage, critic, kind):
    run = make(critic=critic)
    for step in (1, 2, 3):
        save(run, step, critic=critic, ranks=2)
        run.ingest()
    save(run, 4, critic=critic, ranks=2)
    (run.verl / LATEST).write_text("3")  # killed while saving step 4
    file = run.verl / "global_step_3" / damage
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    else:
        file.unlink()
    again = make(critic=critic)
    assert again.prepare_resume(LOGGED) == 2
    assert again.saved_step() == 2
    assert again.published_steps() == [1, 2]
    assert names(run.verl) == ["global_step_2", LATEST]
    save(again, 3, random_tensors(33), critic=critic)
    assert again.ingest() == [3]


def test_a_number_cut_off_while_it_was_written_is_found_again(make):
    run = make()
    for step in (1, 2):
        save(run, step)
        run.ingest()
    save(run, 3)
    (run.verl / LATEST).write_text("")  # verl writes it last, and not at once
    again = make()
    assert again.prepare_resume(LOGGED) == 3
    assert (run.verl / LATEST).read_text() == "3"  # verl itself cannot read an empty one
    assert again.published_steps() == [1, 2, 3]


def test_a_step_that_was_saved_but_not_logged_is_trained_again(make):
    run = make()
    for step in (1, 2, 3):
        save(run, step)
        run.ingest()
    again = make()  # ended between the checkpoint of step 3 and its metrics
    assert again.prepare_resume({1, 2}) == 2
    assert (again.saved_step(), again.published_steps()) == (2, [1, 2])


def test_without_an_earlier_state_a_step_without_metrics_is_gone_on_from(make):
    run = make(keep=1)
    for step in (1, 2, 3):
        save(run, step)
        run.ingest()
    assert make(keep=1).prepare_resume({1, 2}) == 3


def test_a_last_step_that_was_not_logged_is_trained_again(make):
    run = make(every=3)
    for step in range(1, 21):
        save(run, step)
    run.ingest()
    assert make(every=3).prepare_resume(range(1, 20)) == 18
    assert run.published_steps() == list(range(1, 19))


def test_a_ppo_run_does_not_resume_without_its_critic(make):
    run = make(critic=True)
    save(run, 1, critic=False)
    with pytest.raises(UserError, match="training state is gone"):
        run.prepare_resume(LOGGED)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_room_for_the_next_save_is_measured_from_the_last(make, tmp_path, monkeypatch, dtype):
    run = make(dtype)
    save(run, 1)
    run.ingest()
    weights = sum(tensor.numel() for tensor in random_tensors(0).values())
    # A file system counts in blocks: 4 KiB a file at most beyond its size.
    state = sum(file.stat().st_size for file in run.verl.rglob("*.pt"))
    need = state + weights * (4 if dtype == "float32" else 4 + 2)
    assert need <= run.next_save_bytes(1) <= need + 4 * 4096
    exact = run.next_save_bytes(1)
    monkeypatch.setattr(verl_run, "free_bytes", lambda _folder: exact)
    run.check_room()
    monkeypatch.setattr(verl_run, "free_bytes", lambda _folder: exact - 1)
    with pytest.raises(UserError, match=f"step 2 needs {exact:,} bytes, {exact - 1:,} are free"):
        run.check_room()
    # What is already written of the next save is not needed once more.
    save_state(run.verl / "global_step_2" / "actor")
    run.check_room()


def test_before_the_first_save_the_state_is_taken_from_the_models_size(make):
    weights = 4 * sum(tensor.numel() for tensor in random_tensors(0).values())
    assert make().next_save_bytes(0) == 4 * weights
    assert make(critic=True).next_save_bytes(0) == 7 * weights
    # Of adapters weights and moments are saved, and the merged model is written beside them.
    assert make(adapters=10).next_save_bytes(0) == 4 * 40 + weights
    assert make(adapters=10, critic=True).next_save_bytes(0) == 4 * 40 + 3 * weights + weights


def test_states_at_every_third_step_are_kept_and_resumed_from(make):
    run = make(every=3)
    assert run.next_save_bytes(1) < run.next_save_bytes(2)  # step 3 has a state, step 2 none
    for step in range(1, 12):
        save(run, step)
        run.ingest()
    assert run.published_steps() == list(range(1, 12))
    assert names(run.verl) == ["global_step_6", "global_step_9", LATEST]
    again = make(every=3)
    assert again.prepare_resume(LOGGED) == 9
    assert (again.saved_step(), again.published_steps()) == (9, list(range(1, 10)))
    save(again, 10, random_tensors(100))
    assert again.ingest() == [10]
    stored = load_file(again.published.place(10) / "model.safetensors")
    assert torch.equal(stored["model.norm.weight"], random_tensors(100)["model.norm.weight"])


def test_before_the_first_state_a_run_begins_again(make):
    run = make(every=3)
    save(run, 1)
    save(run, 2)
    assert run.ingest() == [1, 2]
    again = make(every=3)
    assert (again.prepare_resume(LOGGED), again.published_steps()) == (0, [])
    assert names(run.verl) == []


def test_a_run_with_all_its_steps_has_nothing_to_resume(make):
    run = make(every=3)
    for step in range(1, 21):
        save(run, step)
    run.ingest()
    assert make(every=3).prepare_resume(LOGGED) == 20
    assert run.published_steps() == list(range(1, 21))


def test_a_deadline_leaves_steps_for_the_next_call(make):
    run = make()
    save(run, 1)
    assert run.ingest(deadline=time.monotonic() - 1) == []
    assert make().ingest(deadline=time.monotonic() + 10) == [1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_manifest_tells_of_a_jump_before_its_step_and_the_trajectory_of_all(make, dtype):
    jump = {"step": 1, "method": "anchor", "factor": 2.0}
    run = make(dtype, jump_before=lambda step: jump if step == 2 else None)
    for step in (1, 2, 3):
        save(run, step)
    run.ingest()
    assert "jump" not in read_manifest(run.published.place(1))
    assert read_manifest(run.published.place(2))["jump"] == jump
    trajectory = Trajectory.open(run.base.folder, run.published.folder)
    assert trajectory.jumps == {2: jump}
    stretch = trajectory.stretch(2, 3)
    assert stretch.steps == (1,)
    stretch.prove_on_reading()
    for step, whole in ((0, 2), (1, 3)):
        assert torch.equal(stretch.tensor(step, QUERY), trajectory.tensor(whole, QUERY))
    assert trajectory.stretch(0, 1).steps == (1,)


def test_a_state_without_its_anchor_is_not_whole(make):
    run = make(anchors="anchor_world_size_{world}_rank_{rank}.safetensors")
    for step in (1, 2):
        save(run, step, ranks=2)
        for rank in range(2 if step == 1 else 1):
            name = f"anchor_world_size_2_rank_{rank}.safetensors"
            (run.verl / f"global_step_{step}" / "actor" / name).write_bytes(b"0")
    assert run.prepare_resume(LOGGED) == 1


def test_deltas_are_what_the_folders_are(make, tmp_path):
    """The same saves published both ways, by calls that come at different times."""
    folders = make("bfloat16")
    store = make("bfloat16")
    store.verl = tmp_path / "verl_of_store"
    store.published = Deltas(tmp_path / "store", tmp_path / "base")
    for step in range(1, 6):
        save(folders, step)
        folders.ingest()
        save(store, step)
        if step != 3:
            store.ingest()
    assert store.published_steps() == folders.published_steps() == [1, 2, 3, 4, 5]
    both = [
        Trajectory.open(tmp_path / "base", place)
        for place in (tmp_path / "published", tmp_path / "store")
    ]
    assert both[0].identity == both[1].identity
    whole = sorted(path.name for path in (tmp_path / "store" / "newest").iterdir())
    assert whole == ["step_5"]
    store.published.finish()
    both[1].verify()


def test_deltas_go_on_after_a_kill_at_any_place(make, tmp_path, monkeypatch):
    """Killed before a step is in the store, and after it but before the older one is removed."""
    run = make("bfloat16")
    run.published = Deltas(tmp_path / "store", tmp_path / "base")
    for number, place in enumerate(("add_step", "remove"), 1):
        save(run, 2 * number - 1)
        run.ingest()
        save(run, 2 * number)
        with monkeypatch.context() as killed:
            killed.setattr(published_steps, place, interrupt)
            with pytest.raises(KeyboardInterrupt):
                run.ingest()
        run = make("bfloat16")
        run.published = Deltas(tmp_path / "store", tmp_path / "base")
        assert run.prepare_resume(LOGGED) == 2 * number
        assert run.published_steps() == list(range(1, 2 * number + 1))
    Trajectory.open(tmp_path / "base", tmp_path / "store").verify()


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_steps_after_the_one_to_resume_from_leave_the_store(make, tmp_path):
    run = make("bfloat16", every=2)
    run.published = Deltas(tmp_path / "store", tmp_path / "base")
    for step in range(1, 6):
        save(run, step)
        run.ingest()
    again = make("bfloat16", every=2)
    again.published = Deltas(tmp_path / "store", tmp_path / "base")
    assert again.prepare_resume(LOGGED) == 4
    assert again.published_steps() == [1, 2, 3, 4]
    save(again, 5, random_tensors(50))
    again.ingest()
    trajectory = Trajectory.open(tmp_path / "base", tmp_path / "store")
    trajectory.verify()
    assert torch.equal(trajectory.tensor(5, QUERY), random_tensors(50)[QUERY].bfloat16())
