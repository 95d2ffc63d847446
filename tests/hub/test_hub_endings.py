"""A hub that trickles, never ends or says nonsense: the fetch ends, soon and in one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub import http as hub_http
from rlvr_dynamics.hub import patience
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.patience import Stopped
from rlvr_dynamics.hub.pinned import Address, Pinned, RemoteFile

FILE = RemoteFile("d.json", 1_000_000, None, "b" * 40)
STEP = Pinned(Address("a/b", "main", ""), "c" * 40, (FILE,))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def serve(monkeypatch):
    """Answer every request by what a function does with the connection and the path."""
    listener = socket.create_server(("127.0.0.1", 0))
    over, accepting = threading.Event(), []

    def start(answer):
        def handle(connection):
            with connection:
                try:
                    path = connection.recv(65536).split(b" ")[1].decode()
                    answer(connection, path, over)
                except (OSError, IndexError):
                    pass

        def accept():
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        accepting.append(threading.Thread(target=accept, daemon=True))
        accepting[-1].start()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.001)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    over.set()
    # Its number may be another socket's soon, which a thread that still waits would answer for.
    listener.shutdown(socket.SHUT_RDWR)
    for thread in accepting:
        thread.join()
    listener.close()


def trickle(connection, _path, over):
    connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    while not over.wait(0.2):
        connection.sendall(b" ")


def silence(connection, _path, over):
    connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    over.wait()


@pytest.mark.parametrize("answer", [trickle, silence])
def test_a_transfer_that_hangs_in_a_thread_is_ended(serve, answer):
    seen = []
    with Hub(serve(answer)) as hub:

        def work():
            try:
                for _ in hub.blocks(STEP, FILE, 0, FILE.size):
                    pass
            except Stopped as error:
                seen.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.7)
        begin = time.monotonic()
        hub.end()
        thread.join(10)
    assert not thread.is_alive() and time.monotonic() - begin < 3 and len(seen) == 1


def endless_bytes(connection, _path, _over):
    connection.sendall(HEAD + b"\r\n[")
    while True:
        connection.sendall(b"1," * 50_000)


def endless_redirects(connection, path, _over):
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n"
    connection.sendall(head + f"Location: {path}x\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (endless_bytes, "bytes"),
        (endless_redirects, "redirect"),
        (trickle, "took more than"),
    ],
)
def test_an_answer_without_an_end_is_one_line(serve, answer, word, monkeypatch):
    monkeypatch.setattr(hub_http, "MOST_ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(hub_http, "MOST_ANSWER_BYTES", 1 << 19)
    with Hub(serve(answer)) as hub, pytest.raises(UserError, match=f"to an end.*{word}"):
        hub.answer("x")


@pytest.mark.parametrize("body", [b"[" * 200_000, b"\xff\xfe", b"{", b""])
def test_an_answer_that_is_no_json_is_one_line(serve, body):
    def answer(connection, _path, _over):
        connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    with Hub(serve(answer)) as hub, pytest.raises(UserError, match="not JSON"):
        hub.answer("x")


def test_a_strange_range_is_tried_again_not_a_crash(serve):
    ranges = iter([b"x-y/z", b"4-5/1000000", b"3-4/1000000"])

    def answer(connection, _path, _over):
        head = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes " + next(ranges)
        connection.sendall(head + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n12")

    with Hub(serve(answer)) as hub:
        assert b"".join(hub.blocks(STEP, FILE, 3, 5)) == b"12"


def test_sigterm_ends_the_fetch_from_a_trickling_server(serve, tmp_path):
    commit, files = "c" * 40, []
    for name, size in (("config.json", 100), ("model.safetensors", 10**6)):
        lfs = {"lfs": {"sha256": "a" * 64, "size": size}} if "model" in name else {}
        files.append({"rfilename": name, "size": size, "blobId": "b" * 40} | lfs)

    def answer(connection, path, over):
        if "/resolve/" in path:
            return trickle(connection, path, over)
        body = json.dumps({"sha": commit, "siblings": files}).encode()
        tail = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        return connection.sendall(HEAD + tail + body)

    environment = os.environ | {"HF_ENDPOINT": serve(answer), "HF_HOME": str(tmp_path / "hf")}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    command = [sys.executable, "-m", "rlvr_dynamics.run", "+exp=relex_published_qwen2_5_math_1_5b"]
    command += ["stages=[prepare]", "benchmark=none", f"run_dir={tmp_path / 'run'}"]
    command += ["data=arithmetic"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 90
    while not list((tmp_path / "hf").rglob(".*.part")) and time.monotonic() < end:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.2)
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 75, told
    assert time.monotonic() - begin < 10 and "Traceback" not in told
