"""Ray's sockets have room, whatever TMPDIR is."""

import tempfile

import pytest

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.training import trainer


@pytest.fixture
def long_place(tmp_path, monkeypatch):
    place = tmp_path / ("long" * 20)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def test_a_long_temporary_folder_is_passed_over(long_place):
    with trainer._short_folder("rlvr-0123456789-") as folder:
        assert len(f"{folder}{trainer.RAY_SOCKET}") <= trainer.SOCKET_BYTES
        assert folder.is_dir() and not folder.is_relative_to(long_place)
    assert not folder.exists()


def test_without_a_short_one_it_is_one_line(long_place, monkeypatch):
    monkeypatch.setattr(trainer, "SHORT_PLACES", ())
    with pytest.raises(UserError, match="at most"), trainer._short_folder("rlvr-0123456789-"):
        pass
