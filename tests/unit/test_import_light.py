"""`import musicbert` is light."""

import subprocess
import sys

LIMIT_SECONDS = 0.3
CODE = """
import sys, time
before = set(sys.modules)
begin = time.perf_counter()
import musicbert
print(time.perf_counter() - begin)
print(" ".join(sorted(name for name in set(sys.modules) - before if "." not in name)))
"""


def test_import_is_fast_and_loads_no_heavy_package():
    seconds, names = [], set()
    for _ in range(3):
        result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
        first, second = result.stdout.splitlines()
        seconds.append(float(first))
        names |= set(second.split())
    assert "musicbert" in names
    assert not names & {"torch", "fairseq", "numpy", "symusic", "miditoolkit", "scipy", "pandas"}
    assert min(seconds) < LIMIT_SECONDS


def test_public_names_load_on_first_use():
    import musicbert

    for name in musicbert.__all__:
        assert getattr(musicbert, name) is not None
    assert callable(musicbert.encode)
