"""A frame of a delta store is read in parts, needs little memory, and no damage passes unseen."""

import os
import tracemalloc

import numpy as np
import psutil
import pyarrow as pa
import pytest
import zstandard
from zstandard import ZstdError

from rlvr_dynamics.checkpoints.delta_frames import OPEN_BYTES, Frame, FrameReader, compressor

SIZE = 700_001


def change(size=SIZE, share=0.01):
    generator = np.random.default_rng(3)
    values = np.zeros(size, np.uint8)
    places = generator.choice(size, int(share * size), replace=False)
    values[places] = generator.integers(1, 256, len(places), dtype=np.uint8)
    return values


def ours(values):
    made = compressor(len(values))
    parts = [made.compress(values[low : low + 99_999].data) for low in range(0, SIZE, 99_999)]
    return b"".join([*parts, made.flush()])


def one_piece(values):
    return zstandard.ZstdCompressor().compress(values.tobytes())


def with_checksum(values):
    return zstandard.ZstdCompressor(write_checksum=True).compress(values.tobytes())


def arrows(values):
    return pa.Codec("zstd", compression_level=1).compress(values, asbytes=True)


def written(folder, data):
    path = folder / "frames"
    path.write_bytes(b"before" + data + b"behind")
    return Frame(path, 6, 6 + len(data))


def whole(frame, size=SIZE, step=65_537):
    reader, found = FrameReader(frame, size), np.empty(size, np.uint8)
    for low in range(0, size, step):
        reader.read(low, found[low : low + step])
    return found


@pytest.mark.parametrize("make", [ours, one_piece, with_checksum, arrows])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_any_part_is_read(tmp_path, make, share):
    values = change(share=share)
    frame = written(tmp_path, make(values))
    assert np.array_equal(whole(frame), values)
    reader = FrameReader(frame, SIZE)
    for low, high in ((5, 9), (9, 300_000), (600_000, SIZE), (600_000, SIZE), (0, 1), (0, SIZE)):
        found = np.empty(high - low, np.uint8)
        reader.read(low, found)
        assert np.array_equal(found, values[low:high])


@pytest.mark.parametrize("make", [ours, with_checksum, arrows])
@pytest.mark.parametrize(
    "more",
    [b"\0", b"abc", one_piece(change()), one_piece(change(0)), b"\x50\x2a\x4d\x18\0\0\0\0"],
    ids=["a byte", "bytes", "a second frame", "an empty frame", "a frame to skip"],
)
def test_nothing_may_follow_a_frame(tmp_path, make, more):
    with pytest.raises(ZstdError):
        whole(written(tmp_path, make(change()) + more))


@pytest.mark.parametrize("make", [ours, arrows])
def test_a_frame_holds_the_tensor_and_nothing_else(tmp_path, make):
    data = make(change())
    for size in (SIZE - 1, SIZE + 1):
        with pytest.raises(ZstdError, match="holds other"):
            whole(written(tmp_path, data), size)
    with pytest.raises(ZstdError):
        whole(written(tmp_path, data[:-1]))
    without = zstandard.ZstdCompressor(write_content_size=False).compress(change().tobytes())
    with pytest.raises(ZstdError, match="holds other"):
        whole(written(tmp_path, without))


def test_a_flipped_bit_is_an_error_or_changes_the_bytes(tmp_path):
    """But for the few bits that mean nothing: what they leave is the tensor."""
    values = change(20_000, 0.002)
    made = compressor(len(values))
    data = made.compress(values.data) + made.flush()
    unnoticed = []
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            found = whole(written(tmp_path, flipped), len(values))
        except ZstdError:
            continue
        if np.array_equal(found, values):
            unnoticed.append(place)
    assert len(unnoticed) < 0.01 * 8 * len(data)


def test_the_end_of_a_frame_is_where_it_says(tmp_path):
    """Of these zstd may give all bytes, and wait for more."""
    values = change()
    data = bytearray(ours(values))
    place, last = zstandard.frame_header_size(bytes(data)), 0
    while place < len(data):
        last = place
        header = int.from_bytes(data[place : place + 3], "little")
        place += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
    assert place == len(data)
    for at, bit in ((last, 1), (4, 4)):  # the flag of the last block, that of a checksum
        flipped = bytearray(data)
        flipped[at] ^= bit
        with pytest.raises(ZstdError, match="a frame (does not end|ends early)"):
            whole(written(tmp_path, flipped))


def test_open_frames_take_little_memory(tmp_path):
    frame, count = written(tmp_path, ours(change())), 300
    out = np.empty(SIZE // 2, np.uint8)

    def opened():
        reader = FrameReader(frame, SIZE)
        reader.read(0, out)
        return reader

    kept = [opened() for _ in range(20)]
    files, before = len(os.listdir("/proc/self/fd")), psutil.Process().memory_info().rss
    tracemalloc.start()
    kept += [opened() for _ in range(count)]
    traced = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    grown = psutil.Process().memory_info().rss - before
    assert len(kept) == count + 20
    assert len(os.listdir("/proc/self/fd")) == files
    assert traced < 70_000 * count
    assert grown < 1.2 * OPEN_BYTES * count
