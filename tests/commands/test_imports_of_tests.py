"""What several test modules need lies in tests/support."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
FROM_TEST_MODULE = re.compile(r"\b(?:from|import) tests\.(?:\w+\.)*test_\w+")


def test_no_test_imports_another_test_module():
    found = [
        f"{path.relative_to(TESTS)}: {line.strip()}"
        for path in sorted(TESTS.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if FROM_TEST_MODULE.search(line)
    ]
    assert not found
