"""Test music in the pre-training: what the file and the cards say, and what a new look at a sample finds."""

import json
import tarfile
from collections import Counter

import numpy as np
import pytest
from overlaps import (
    NETWORKS,
    card_text,
    corpus_files,
    extended,
    find_overlaps,
    named_like_rated_works,
    overlaps_text,
    seen,
    set_card_text,
)

from musicbert.corpus.splits.fingerprints import Fingerprints, fingerprint
from musicbert.errors import DatasetError
from musicbert.midi import read_score, write_midi
from musicbert.midi.score import piano_score

#: What an audit from outside found in the corpus of `m2bert-mini`: data set -> pieces.
AUDIT = {
    ("pm2s", "test"): 10, ("bps_motif", "test"): 6, ("pop909", "test"): 1, ("emopia", "test"): 6,
    ("xai", "test"): 0, ("percepiano", "test"): 0, ("pianist8", "test"): 0, ("tnua", "test"): 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def record(root):
    return json.loads((root / "results" / "overlaps.json").read_text())


def test_what_an_audit_found_is_in_the_file(record):
    mine = seen(record, "m2bert-mini")
    assert {key: len(mine[key[0]][key[1]]) for key in AUDIT} == AUDIT
    assert sum(map(len, mine["augmentednet"].values())) == 4
    assert {piece[:2] for piece in mine["bps_motif"]["test"]} == {"03", "10", "12", "15", "16", "18"}
    best = [
        max(each["files"].items(), key=lambda file: file[1]["share"])
        for each in record["overlaps"]
        if (each["task"], each["part"]) == ("pm2s", "test")
    ]
    assert Counter(name.partition("/")[0] for name, _ in best) == {"asap": 5, "giantmidi": 3, "lmd": 2}
    # 14 by a share of a tenth; this rule asks for less
    surest = [each for each in record["overlaps"] if each["task"] == "genre"]
    assert sum(any(file["share"] >= 0.1 for file in each["files"].values()) for each in surest) == 14


def test_cards_and_pages_say_what_the_file_says(record, root):
    assert (root / "results" / "overlaps.md").read_text() == overlaps_text(record)
    for network in NETWORKS:
        about = root / "results" / "pretraining" / network / "about.md"
        card = root / "checkpoints" / network / "README.md"
        for path in filter(lambda each: each.is_file(), (about, card)):
            text = path.read_text()
            if "card of `m2bert-mini`" in text or "pretraining/m2bert-mini/about.md" in text:
                continue  # it points to another
            if "pretraining/musicbert-mini/about.md" in text:
                continue
            assert card_text(record, network) in text, path


def test_every_piece_of_a_corpus_is_counted(record, root):
    files = corpus_files(root / "results" / "pretraining" / "pieces.csv", root, root)
    assert Counter(corpus for _, corpora in files.values() for corpus in corpora) == record["corpora"]
    named = {name for each in record["overlaps"] for name in each["files"]}
    assert named <= set(files)


def tune(path, seed, transposed=0):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(120, 960, 100))
    write_midi(
        piano_score(onset, onset + 100, rng.integers(45, 80, 100) + transposed, np.full(100, 64)), path
    )
    return read_score(path)


def test_other_movements_are_known_by_the_names_of_files():
    names = ["asap/Schubert/Piano_Sonatas/960-1/Kim.mid", "giantmidi/Schubert_Sonata_D960_x_mov_4.mid"]
    names += ["giantmidi/Schubert_Impromptus_Op142_no_1.mid", "lmd/9/960a1d935.mid", "asap/Op_1421/d9601.mid"]
    names += ["giantmidi/Beethoven_32_Variations_WoO_80_y.mid", "asap/Liszt/Concert_Etude_S145/1/Woo06M.mid"]
    found = named_like_rated_works(names)
    assert found == {"D. 960": names[:2], "D. 935": names[2:3], "WoO 80": names[5:6]}


def test_made_corpora(tmp_path):
    for seed in range(4):
        tune(tmp_path / f"{seed}.mid", seed)
    (tmp_path / "pieces.csv").write_text(
        "file,corpora\n0.mid,m2bert+musicbert\n1.mid,musicbert\n2.mid,performance\n"
    )
    names = {"pm2s/test/a": 0, "bps_motif/fold3/b": 1, "pm2s/valid/c": 3, "xai/d.mid": 9}
    tests = Fingerprints(
        {name: fingerprint(tune(tmp_path / "x.mid", seed, 2)) for name, seed in names.items()}
    )
    found = find_overlaps(tests, corpus_files(tmp_path / "pieces.csv", tmp_path, tmp_path))
    assert found["tests"] == {"pm2s": {"test": 1, "valid": 1}, "bps_motif": {"test": 1}, "xai": {"test": 1}}
    assert [(each["task"], each["part"], each["piece"]) for each in found["overlaps"]] == [
        ("bps_motif", "fold3", "b"),
        ("pm2s", "test", "a"),
    ]
    mine = " ".join(card_text(found, "m2bert-mini").split())
    assert "BP, DbP: 1 of 1 test, 0 of 1 valid" in mine
    assert "MNID" in mine.partition("None of")[2]
    assert "| MNID | 0 of 1 test | 1 of 1 test | 0 of 1 test |" in overlaps_text(found)
    more = Fingerprints({"next_midi/0.mid": fingerprint(read_score(tmp_path / "0.mid"))})
    more = find_overlaps(more, corpus_files(tmp_path / "pieces.csv", tmp_path, tmp_path))
    both = extended(found, more)
    assert [each["task"] for each in both["overlaps"]] == ["bps_motif", "next_midi", "pm2s"]
    assert extended(both, more) == both
    with pytest.raises(DatasetError, match="other corpora"):
        extended({**found, "corpora": {"m2bert": 2}}, more)
    old = "x\n\n**Test music is in the corpus all the same**: old.\nBecause of ASAP's licence y\n"
    assert set_card_text(set_card_text(old, "**Test music is in the corpus all the same** a"), "new") == (
        "x\n\nnew\nBecause of ASAP's licence y\n"
    )


def test_a_sample_of_the_real_data_is_as_the_file_says(record, root, tmp_path):
    """Motifs against the files of the corpus that hold one, and thirty others."""
    from musicbert.corpus.readers.benchmark import held_out_fingerprints

    shared = root.parent / "shared" / "data"
    motifs, collection = shared / "tasks" / "mnid_bpsmotif.tar.xz", shared / "pretrain_small.tar.xz"
    if not (motifs.is_file() and collection.is_file()):
        pytest.skip(f"needs {motifs.name} and {collection.name} in ../shared/data")
    mine = [each for each in record["overlaps"] if each["task"] == "bps_motif"]
    expected = {
        (each["piece"], name): file["shared"]
        for each in mine
        for name, file in each["files"].items()
        if name.startswith("giantmidi/")
    }
    with tarfile.open(collection) as archive:
        wanted = [m for m in archive if "/giantmidi/" in m.name and m.isfile()]
        archive.extractall(tmp_path, wanted, filter="data")
    table = root / "results" / "pretraining" / "pieces.csv"
    files = corpus_files(table, tmp_path / "pretrain_small", tmp_path)
    files = {name: file for name, file in files.items() if name.startswith("giantmidi/")}
    pieces, failed = held_out_fingerprints("bps_motif", motifs)
    assert failed == []
    again = find_overlaps(Fingerprints(pieces), files)
    assert {
        (each["piece"], name): file["shared"]
        for each in again["overlaps"]
        for name, file in each["files"].items()
    } == expected
