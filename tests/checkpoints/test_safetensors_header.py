"""Our reading of safetensors headers against the format's own reader."""

import json
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.torch import save

from rlvr_dynamics.checkpoints.header import HEADER_LIMIT, read_header
from rlvr_dynamics.errors import UserError

VALUES = b"\x00" * 32
GOOD = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}
STRICTER = ("is there twice", "format does not know", "is not an object", "does not start with")


def packed(header, values=VALUES):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def theirs(data):
    try:
        return {
            name: (info["dtype"], list(info["shape"]), len(info["data"]))
            for name, info in deserialize(data)
        }
    except SafetensorError:
        return None


def ours(data, path):
    path.write_bytes(data)
    try:
        header = read_header(path)
    except UserError as error:
        assert error.way_out and error.where == str(path) and "\n" not in str(error)
        return None, str(error)
    return {
        name: (each.dtype, list(each.shape), each.end - each.begin)
        for name, each in header.tensors.items()
    }, ""


def agree(data, path):
    found, why = ours(data, path)
    expected = theirs(data)
    stricter = found is None and any(words in why for words in STRICTER)
    assert found == expected or stricter, (data[:200], why)


def changed(tensor="a", **fields):
    return {**GOOD, tensor: {**GOOD[tensor], **fields}}


DAMAGED = {
    "overlap": (changed("b", data_offsets=[20, 28]), VALUES[:28]),
    "hole": (changed("b", data_offsets=[28, 36]), VALUES + b"0000"),
    "hole at the start": (
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        VALUES[:8],
    ),
    "the same bytes twice": ({**GOOD, "c": GOOD["b"]}, VALUES),
    "trailing bytes": (GOOD, VALUES + b"x"),
    "missing bytes": (GOOD, VALUES[:-1]),
    "a fraction in a shape": (changed(shape=[2.0, 3]), VALUES),
    "a text in a shape": (changed(shape=["2", 3]), VALUES),
    "a truth value in a shape": (changed(shape=[True, 6]), VALUES),
    "a negative shape": (changed(shape=[-2, -3]), VALUES),
    "minus nothing": (
        b'{"a": {"dtype": "F32", "shape": [-0], "data_offsets": [0, 0]}}',
        b"",
    ),
    "a shape of another size": (changed(shape=[2, 2]), VALUES),
    "a shape that overflows": (changed(shape=[2**62, 2**62, 0], data_offsets=[0, 0]), VALUES),
    "offsets backwards": (changed(data_offsets=[24, 0]), VALUES),
    "three offsets": (changed(data_offsets=[0, 24, 24]), VALUES),
    "an unknown dtype": (changed(dtype="F31"), VALUES),
    "no dtype": ({**GOOD, "a": {"shape": [2, 3], "data_offsets": [0, 24]}}, VALUES),
    "metadata with numbers": ({"__metadata__": {"step": 3}, **GOOD}, VALUES),
    "utf-16": (json.dumps(GOOD).encode("utf-16-le"), VALUES),
    "utf-8 with a mark": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), VALUES),
    "half a surrogate": (b'{"a\\ud800": ' + json.dumps(GOOD["a"]).encode() + b"}", VALUES[:24]),
    "a list": (json.dumps([GOOD]).encode(), VALUES),
    "nothing": (b"", b""),
    "not a number": (
        b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], "x": NaN}}',
        b"",
    ),
    "very deep": (b'{"a":' * 100_000, VALUES),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_the_formats_reader_refuses_is_refused_in_one_line(case, tmp_path):
    data = packed(*DAMAGED[case])
    assert theirs(data) is None
    found, why = ours(data, tmp_path / "x.safetensors")
    assert found is None and why


def test_what_the_formats_reader_accepts_is_read_alike(tmp_path):
    tensors = {
        "a": torch.ones(2, 3),
        "empty": torch.ones(0, 4),
        "number": torch.tensor(3.0),
        "ids": torch.arange(5),
        "half": torch.ones(3).bfloat16(),
    }
    for data in (
        save(tensors, metadata={"format": "pt"}),
        packed(json.dumps(GOOD).encode() + b"   "),
        packed({"__metadata__": None, **GOOD}),
        packed({**GOOD, "a": {**GOOD["a"], "note": "of a later format"}}),
        packed({}, b""),
    ):
        found, why = ours(data, tmp_path / "x.safetensors")
        assert found is not None and found == theirs(data), why


def test_a_header_that_does_not_start_with_its_brace_is_refused(tmp_path):
    found, why = ours(packed(b" " + json.dumps(GOOD).encode()), tmp_path / "x.safetensors")
    assert found is None and "does not start with '{'" in why


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    data = packed(json.dumps(GOOD).replace('"b"', '"a"').encode())
    found, why = ours(data, tmp_path / "x.safetensors")
    assert found is None and "'a' is there twice" in why


def test_a_header_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", HEADER_LIMIT + 1))
    with path.open("r+b") as file:
        file.truncate(HEADER_LIMIT + 100)
    with pytest.raises(UserError, match="100,000,000"):
        read_header(path)


COUNTS = st.one_of(
    st.integers(-2, 40), st.sampled_from([2**63, 2**64, 1.0, 8.0, True, None, "8", [], -0.0])
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F16", "I64", "BOOL", "F4", "F6_E2M3", "X", 3]),
        "shape": st.one_of(st.lists(COUNTS, max_size=3), COUNTS),
        "data_offsets": st.one_of(st.lists(COUNTS, max_size=3), COUNTS),
        "extra": st.one_of(COUNTS, st.just({"x": [1]})),
    },
)


@settings(max_examples=150, deadline=None)
@given(changes=st.dictionaries(st.sampled_from("ab"), FIELDS), values=st.integers(0, 48))
def test_changed_fields_are_accepted_only_where_the_formats_reader_does(
    changes, values, tmp_path_factory
):
    header = {
        name: {**GOOD.get(name, {}), **fields} for name, fields in {**GOOD, **changes}.items()
    }
    path = tmp_path_factory.getbasetemp() / "fields.safetensors"
    agree(packed(header, b"\x00" * values), path)
    agree(packed(header), path)


@settings(max_examples=300, deadline=None)
@given(
    place=st.integers(0, len(packed(GOOD)) - 1),
    byte=st.one_of(st.integers(0, 255), st.sampled_from(list(b'0123456789{}[]",:.-eE\\u '))),
    how=st.sampled_from(["replace", "insert", "delete", "cut"]),
    fit=st.booleans(),
)
def test_changed_bytes_are_accepted_only_where_the_formats_reader_does(
    place, byte, how, fit, tmp_path_factory
):
    good = packed(GOOD)
    data = {
        "replace": good[:place] + bytes([byte]) + good[place + 1 :],
        "insert": good[:place] + bytes([byte]) + good[place:],
        "delete": good[:place] + good[place + 1 :],
        "cut": good[:place],
    }[how]
    if fit and how in ("insert", "delete") and place >= 8:  # the length follows
        length = struct.unpack("<Q", good[:8])[0] + (1 if how == "insert" else -1)
        data = struct.pack("<Q", length) + data[8:]
    agree(data, tmp_path_factory.getbasetemp() / "bytes.safetensors")
