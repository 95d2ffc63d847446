"""How long work shows itself where the output is a file."""

from rlvr_dynamics.system import progress


def test_a_log_has_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(progress, "SHORT_SECONDS", 0.0)
    with progress.bar(total=3, desc="train", unit="step") as work:
        for _ in range(3):
            work.set_postfix(reward="0.5", refresh=False)
            work.update(1)
    shown = capsys.readouterr().err
    lines = shown.split("\n")
    assert "\r" not in shown and lines[-1] == ""
    assert all(line.startswith("train: ") and len(line) < 80 for line in lines[:-1])
    assert "3/3" in lines[-2] and "reward=0.5" in lines[-2]


def test_short_work_needs_no_line(capsys):
    assert list(progress.bar(range(5), desc="verify")) == list(range(5))
    assert capsys.readouterr().err == ""
