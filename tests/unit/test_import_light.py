"""`import musicbert` is light."""

import subprocess
import sys

CODE = """
import sys
before = set(sys.modules)
import musicbert
print(" ".join(sorted(name for name in set(sys.modules) - before if "." not in name)))
"""


def test_import_loads_no_heavy_package():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    names = set(result.stdout.split())
    assert "musicbert" in names
    assert not names & {"torch", "fairseq", "numpy", "symusic", "miditoolkit", "scipy", "pandas"}


def test_public_names_load_on_first_use():
    import musicbert

    for name in musicbert.__all__:
        assert getattr(musicbert, name) is not None
    assert callable(musicbert.encode)
