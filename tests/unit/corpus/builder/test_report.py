"""What `musicbert build` says of the parts that it wrote."""

import pytest

from musicbert.cli.main import main


@pytest.mark.parametrize(("shares", "said"), [((98, 1, 1), True), ((60, 20, 20), False)])
def test_a_corpus_without_a_validation_part_says_so(tmp_path, fixtures, capsys, shares, said):
    for k in range(5):
        content = (fixtures / "musicbert" / "s01_basic_4_4.mid").read_bytes()
        (tmp_path / f"{k}.mid").write_bytes(content)
    files = [str(tmp_path / f"{k}.mid") for k in range(5)]  # a MIDI file is a source, too
    words = ["build", *files, "--output", str(tmp_path / "out"), "--quiet", "--keep-duplicates"]
    assert main([*words, "--ignore-near-duplicates", "--shares", *map(str, shares)]) == 0
    text = capsys.readouterr().out
    assert "5 files found" in text
    assert ("--shares 80 10 10" in text) == said
