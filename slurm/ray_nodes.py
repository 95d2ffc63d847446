"""`python -m slurm.ray_nodes ADDRESS COUNT SECONDS`: wait until a Ray cluster has COUNT nodes."""

import subprocess
import sys
import time

CHECK_SECONDS = 2.0
ANSWER_SECONDS = 60.0
ALIVE = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
"""


def main(arguments: list[str]) -> int:
    """Wait for the nodes; returns 0 once they are there, 1 if they are not in time."""
    address, count, seconds = arguments[0], int(arguments[1]), float(arguments[2])
    deadline = time.monotonic() + seconds
    seen = 0
    while time.monotonic() < deadline:
        seen = _alive(address)
        if seen >= count:
            return 0
        time.sleep(CHECK_SECONDS)
    print(f"ray: {seen} of {count} nodes at {address} after {seconds:.0f} s", file=sys.stderr)
    return 1


def _alive(address: str) -> int:
    # In a separate process, because a failed connection ends the process that tried it.
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ALIVE, address],
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return 0
    last = asked.stdout.strip().splitlines()[-1:] if asked.returncode == 0 else []
    return int(last[0]) if last and last[0].isdigit() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
