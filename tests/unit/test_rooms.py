"""What import-linter does not check: no import circles, short files, tests in the rooms of the code."""

from graphlib import TopologicalSorter

import grimp

MAX_LINES = 450


def test_no_file_imports_itself_through_others():
    graph = grimp.build_graph("musicbert", exclude_type_checking_imports=True)
    # `import musicbert` loads the plug-in only inside a running fairseq
    edges = {
        name: graph.find_modules_directly_imported_by(name) - {"musicbert"}
        for name in graph.modules
        if name != "musicbert"
    }
    assert len(tuple(TopologicalSorter(edges).static_order())) == len(edges)  # raises `CycleError`


def test_no_file_is_too_long(root):
    for folder in ("musicbert", "scripts", "results", "tests"):
        for path in (root / folder).rglob("*"):
            if path.suffix in (".py", ".sh"):
                lines = len(path.read_text(encoding="utf-8").splitlines())
                assert lines <= MAX_LINES, f"{path.relative_to(root)} has {lines} lines"


def test_unit_tests_mirror_the_rooms(root):
    unit = root / "tests" / "unit"
    for path in unit.rglob("test_*.py"):
        room = path.parent.relative_to(unit)
        if room.parts[:1] != ("benchmarks",):
            assert (root / "musicbert" / room).is_dir(), path
