"""No file of weights runs anything, whatever the environment says, or takes memory that it only claims."""

import os
import pickle
import struct
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from warm_python import python

from musicbert.errors import CheckpointError
from musicbert.weights.pickles import MAX_PICKLE, read_pickle

#: REDUCE of a name with arguments, by hand
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n%sStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuL%dL\ntQL%dL\n(%st(%st\x89ccollections\nOrderedDict\n)RtR"
)


def integers(*values):
    return b"".join(b"L%dL\n" % value for value in values)


def tensor(kind=b"Float", count=1, offset=0, size=(1,), stride=(1,)):
    return TENSOR % (kind, count, offset, integers(*size), integers(*stride))


#: values that hold themselves twice in 60 levels: a few bytes, and 2^60 elements where they are unfolded
LISTS = b"]q\x00" + b"".join(b"0(h%ch%clq%c" % (i, i, i + 1) for i in range(60))
TUPLES = b")q\x00" + b"".join(b"0h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))

#: what the value of the key `model` of a checkpoint may be, and the reason of the error
ATTACKS = {
    "8 GiB of a bytearray": (b"cbuiltins\nbytearray\n(L8589934592L\ntR", "unsafe-pickle"),
    "8 GiB of bytes": (b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00f8tR"
                       b"L8589934592L\ntR", "unreadable"),
    "BYTEARRAY8": (b"\x96" + struct.pack("<Q", 8 << 30), "unreadable"),
    "BINBYTES8": (b"\x8e" + struct.pack("<Q", 8 << 30), "unreadable"),
    "BINUNICODE": (b"X" + struct.pack("<I", 0xF0000000), "unreadable"),
    "LONG4": (b"\x8b" + struct.pack("<i", 0x70000000), "unreadable"),
    "a frame": (b"\x95" + struct.pack("<Q", 8 << 30), "unreadable"),
    "sets": (b"\x8f" * (MAX_PICKLE // 2), "unreadable"),
    "lists": (b"]" * (2 * MAX_PICKLE), "unreadable"),
    "a memo of 2^32": (b"Nr\xff\xff\xff\xff", "no-weights"),
    "a storage that is not there": (tensor(count=1 << 40), "unreadable"),
    "a tensor beyond its storage": (tensor(size=(1 << 40,)), "bad-weights"),
    "stride 0": (tensor(size=(1 << 40,), stride=(0,)), "bad-weights"),
    "an offset beyond its storage": (tensor(offset=1 << 40), "bad-weights"),
    "negative sizes": (tensor(size=(-1,)), "unreadable"),
    "sizes that are lists": (TENSOR % (b"Float", 1, 0, LISTS, integers(1)), "unreadable"),
    "a dtype of lists": (b"cnumpy\ndtype\n(" + LISTS + b"tR", "unreadable"),
    "a key of tuples": (b"}" + TUPLES + b"Ns", "unreadable"),
    "a size of a storage": (
        b"ctorch\nSize\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000NL1L\ntQtR",
        "unreadable",
    ),
    "empty tensors": (b"(" + tensor(size=(0,)) * 40_000 + b"l", "unreadable"),
    "a function of this package": (b"cmusicbert.weights.pickles\nread_pickle\n(X\x01\x00\x00\x00xtR",
                                   "unsafe-pickle"),
    "a bound attribute": (b"\x8c\x08builtins\x8c\x04eval\x93(X\x01\x00\x00\x000tR", "unsafe-pickle"),
    "an extension": (b"\x82\x01", "unreadable"),
    "an old instance": (b"(X\x01\x00\x00\x00xios\nsystem\n", "unsafe-pickle"),
    "a state of a function": (b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aNsb", "unreadable"),
    "a state of a class": (b"cargparse\nNamespace\nN}X\x01\x00\x00\x00aNs\x86b", "unreadable"),
}  # fmt: skip


def zipped(path, value, key=b"model", storage=b"\0\0\0\0"):
    with zipfile.ZipFile(path, "w") as archive:
        start = b"\x80\x02}X" + struct.pack("<I", len(key)) + key
        archive.writestr("x/data.pkl", start + value + b"s.")
        archive.writestr("x/data/0", storage)
    return path


def reason_of(path):
    from musicbert.weights import load_checkpoint

    try:
        load_checkpoint(path)
    except CheckpointError as error:
        return error.reason
    return None


def legacy(path, value):
    """The layout before torch 1.6, with a storage that is not there."""
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {}):
            pickle.dump(part, file, 2)
        file.write(b"\x80\x02}X\x05\x00\x00\x00model" + value + b"s.")
        pickle.dump(["0"], file, 2)
        file.write(struct.pack("<q", 1 << 40))
    return path


def main(folder):
    """Read every attack in one process; print reasons and the memory that they took."""
    import resource

    import musicbert.weights  # noqa: F401 - what it takes is not counted

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, (name, (value, _)) in enumerate(ATTACKS.items()):
        path = Path(folder) / f"{number}.pt"
        print(name, "|", reason_of(zipped(path, value)), flush=True)  # noqa: T201
        if name != "lists":  # slow
            print(name, "| legacy", reason_of(legacy(path, value)), flush=True)  # noqa: T201
    for key in (b"cfg", b"args", b"musicbert"):
        path = Path(folder) / "settings.pt"
        value = LISTS + b"sX\x05\x00\x00\x00model}X\x01\x00\x00\x00w" + tensor() + b"s"
        print(key.decode(), "|", reason_of(zipped(path, value, key)), flush=True)  # noqa: T201
    print("MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)  # noqa: T201


def test_no_checkpoint_takes_the_memory_that_it_claims(tmp_path):
    command = [python(), "-c", f"import sys; sys.path.insert(0, {str(Path.cwd())!r});"
               f"from tests.unit.weights.test_pickles import main; main({str(tmp_path)!r})"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, memory = done.stdout.splitlines()
    found = dict(line.split(" | ", 1) for line in lines if "legacy" not in line)
    assert found == {name: reason for name, (_, reason) in ATTACKS.items()} | {
        "cfg": "bad-config", "args": "bad-config", "musicbert": "bad-config"
    }  # fmt: skip
    assert all("None" not in line for line in lines)
    assert int(memory.split()[1]) < 900


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_variable_of_the_environment_opens_a_loader(tmp_path, monkeypatch, zipped):
    from fairseq import checkpoint_utils

    import musicbert.fairseq_plugin
    from musicbert.fairseq_plugin.labels.predict import load_fine_tuned
    from musicbert.weights import load_checkpoint

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "evil.pt"
    torch.save({"model": Malice(tmp_path / "ran"), "args": None}, path, _use_new_zipfile_serialization=zipped)
    for load in (
        load_checkpoint,
        load_fine_tuned,
        lambda path: checkpoint_utils.load_checkpoint_to_cpu(str(path)),
        lambda path: checkpoint_utils.load_ema_from_checkpoint(str(path)),
        lambda path: checkpoint_utils.load_model_ensemble_and_task([str(path)]),
    ):
        with pytest.raises(CheckpointError) as caught:
            load(path)
        assert caught.value.reason == "unsafe-pickle"
    assert not (tmp_path / "ran").exists()
    assert musicbert.fairseq_plugin


@pytest.mark.parametrize(
    ("model", "task"), [("fconv", "xai"), ("wav2vec2", "masked_lm"), ("musicbert_mini", "translation")]
)
@pytest.mark.parametrize("container", ["cfg", "args"])
def test_fairseq_builds_nothing_of_its_own_from_a_checkpoint(tmp_path, model, task, container):
    """Neither by `_name`, by `arch` or `task`, nor by the name of a group."""
    from argparse import Namespace

    from fairseq import checkpoint_utils

    import musicbert.fairseq_plugin  # noqa: F401 - registers
    from musicbert.fairseq_plugin.labels.predict import load_fine_tuned

    evil = f"__import__('os').mkdir({str(tmp_path / 'ran')!r})"
    settings = {"encoder_layers": evil, "conv_feature_layers": evil}
    variants = [{"_name": model}, {"arch": model}]
    variants += [{"_name": "musicbert_mini", "arch": model}] if container == "cfg" else []
    for number, names in enumerate(variants):
        state = {"args": None, "cfg": None, "model": {"w": torch.ones(1)}}
        if container == "args":
            state["args"] = Namespace(task=task, **names, **settings)
        else:
            state["cfg"] = {"model": {**names, **settings}, "task": {"_name": "xai", "task": task}}
        torch.save(state, tmp_path / f"{number}.pt")
        for load in (
            load_fine_tuned,
            lambda path: checkpoint_utils.load_model_ensemble_and_task([str(path)]),
        ):
            with pytest.raises((CheckpointError, KeyError)):
                load(tmp_path / f"{number}.pt")
    assert not (tmp_path / "ran").exists()


def test_loading_in_threads_changes_nothing_of_the_process(tmp_path):
    class Own:
        pass

    path = tmp_path / "model.pt"
    torch.save({"weight": torch.arange(6.0).view(2, 3).T}, path)
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([Own])
    try:
        wrong = []

        def load():
            for _ in range(20):
                found = read_pickle(path)["weight"]
                if not torch.equal(found, torch.arange(6.0).view(2, 3).T):
                    wrong.append(found)
                if Own not in torch.serialization.get_safe_globals():
                    wrong.append(Own)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert not wrong
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.mark.parametrize("zipped", [True, False])
def test_every_tensor_that_torch_writes_is_read_as_torch_reads_it(tmp_path, zipped):
    base = torch.arange(24.0).view(4, 6)
    state = {
        "views": [base, base.T, base[1:, ::2], base[0]],
        "kinds": [
            base.to(kind) for kind in (torch.half, torch.bfloat16, torch.double, torch.int64, torch.bool)
        ],
        "parameter": torch.nn.Parameter(base),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5),
        "text": "é",
        "numbers": {1: -(2**70), None: 0.1, 2.5: True},
    }
    path = tmp_path / "model.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found, expected = read_pickle(path), torch.load(path, weights_only=True)
    assert found.keys() == expected.keys()
    for name in ("views", "kinds"):
        for ours, theirs in zip(found[name], expected[name], strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
    assert torch.equal(found["parameter"].detach(), base)
    assert found["empty"].numel() == 0
    assert all(found[name] == expected[name] for name in ("scalar", "text", "numbers"))
    found["views"][0][0, 0] = 7.0
    assert found["views"][1][0, 0] == 7.0  # they share memory, as in the file
    shapes = read_pickle(path, numbers=False)["views"]
    assert [(each.shape, each.is_meta) for each in shapes] == [(each.shape, True) for each in found["views"]]
