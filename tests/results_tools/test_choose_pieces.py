"""Which pieces may be pre-trained on: licences, parts of tasks, compositions."""

import pytest
from choose_pieces import choose, held_out_asap

from musicbert.errors import DatasetError

HEADER = "file,subset,licence,downstream_split\n"


@pytest.fixture
def collection(tmp_path):
    rows = [
        "pop909/001.mid,pop909,MIT,train",
        "pop909/002.mid,pop909,MIT,test",
        "pop1k7/1.mid,pop1k7,none,",
        "giantmidi/Schubert_D935_4.mid,giantmidi,CC BY 4.0,",
        "lmd/5/507cd001d935.mid,lmd,CC BY 4.0,",
        "asap/Bach/Fugue/bwv_846/score.mid,asap,CC BY-NC-SA 4.0,",
    ]
    (tmp_path / "manifest.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return tmp_path


def test_each_file_is_taken_or_has_a_reason(collection):
    reasons = {each.name: each.reason for each in choose(collection)}
    assert reasons == {
        "pop909/001.mid": None,
        "pop909/002.mid": "test part of a task",
        "pop1k7/1.mid": "licence: none",
        "giantmidi/Schubert_D935_4.mid": "composition of a downstream test",
        "lmd/5/507cd001d935.mid": None,
        "asap/Bach/Fugue/bwv_846/score.mid": None,
    }


def test_a_whole_asap_without_held_out_compositions(collection, tmp_path):
    asap = tmp_path / "whole"
    kept = ("Bach/Fugue/bwv_846", "Beethoven/Piano_Sonatas/8-2", "Schubert/Impromptu_op.90_D.899/1")
    barred = (
        *("Beethoven/Piano_Sonatas/24-1_no_2_repeat", "Schubert/Impromptu_op142/3", "Mozart/Fantasie_475"),
        *("Bach/Prelude/bwv_850", "Chopin/Sonata_2/2nd_no_repeat"),
    )
    for folder in (*kept, *barred):
        (asap / folder).mkdir(parents=True)
        (asap / folder / "A01.mid").touch()
    table = tmp_path / "metadata.csv"
    table.write_text(
        "midi_perfm,split\n{ASAP}/Chopin/Sonata_2/2nd/A01.mid,test\n{ASAP}/Bach/Fugue/bwv_846/A01.mid,train\n"
    )
    held_out = held_out_asap(table)
    assert held_out == {"Chopin/Sonata_2/2nd"}
    taken = {each.name for each in choose(collection, asap, held_out) if each.reason is None}
    assert {name for name in taken if name.startswith("asap/")} == {f"asap/{each}/A01.mid" for each in kept}


def test_bad_collections_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        list(choose(tmp_path))
    (tmp_path / "manifest.csv").write_text("file,subset\n")
    with pytest.raises(DatasetError, match="wrong-columns"):
        list(choose(tmp_path))
    with pytest.raises(DatasetError, match="not-found"):
        held_out_asap(tmp_path / "missing.csv")
