"""Folders are walked through links: every folder once, and whatever is passed over has its reason."""

import os

import pytest

from musicbert.reuse import hash_of
from musicbert.walk import walk


@pytest.fixture
def place(tmp_path):
    for name in ("top/b/x", "top/a/y", "top/.hidden/no", "other/z", "other/deep/w"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def walked(folder):
    found = list(walk(folder))
    return [each.inside for each in found if not each.reason], {
        each.inside: each.detail for each in found if each.reason
    }


def test_order_and_hidden_files(place, monkeypatch):
    (place / "top" / "c").write_text("c")
    assert walked(place / "top") == (["c", "a/y", "b/x"], {})
    monkeypatch.chdir(place / "top")
    assert walked(".") == walked(f"{place}/top/") == (["c", "a/y", "b/x"], {})


def test_linked_folders_are_followed_and_each_is_read_once(place):
    top = place / "top"
    (top / "a" / "first").symlink_to("../../other")
    (top / "second").symlink_to(place / "other")
    (top / "deep").symlink_to(place / "other" / "deep")
    (top / "0").symlink_to("b")
    (top / "c").symlink_to(".hidden")
    files, passed_over = walked(top)
    assert files == ["a/y", "b/x", "c/no", "deep/w", "second/z"]
    assert passed_over == {
        "0": "a linked folder that is read already, as b",
        "a/first": "a linked folder that is read already, as second",
        "second/deep": "a folder that is read already, as deep",
    }
    assert {os.path.realpath(each.path) for each in walk(top) if not each.reason} == {
        os.path.realpath(place / name)
        for name in ("top/a/y", "top/b/x", "top/.hidden/no", "other/z", "other/deep/w")
    }


def test_links_in_a_circle_and_to_folders_above_end(place):
    (place / "top" / "loop").symlink_to(".")
    (place / "top" / "root").symlink_to("/")
    (place / "top" / "go").symlink_to("../other")
    (place / "other" / "back").symlink_to("../top")
    (place / "other" / "above").symlink_to("..")
    (place / "other" / "itself").symlink_to("itself")
    files, passed_over = walked(place / "top")
    assert files == ["a/y", "b/x", "go/itself", "go/z", "go/deep/w"]
    assert passed_over == {
        "loop": "a linked folder that is read already, as the folder itself",
        "go/back": "a linked folder that is read already, as the folder itself",
        "root": "a linked folder that leads to a folder above it",
        "go/above": "a linked folder that leads to a folder above it",
    }


def test_a_folder_that_cannot_be_listed_is_named(place, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert walked(place / "top") == (["b/x"], {"a": "a folder that cannot be read: Permission denied"})


def test_what_a_linked_folder_holds_is_part_of_a_hash(place):
    (place / "top" / "linked").symlink_to(place / "other")
    before = hash_of(place / "top")
    (place / "other" / "z").write_text("changed")
    assert hash_of(place / "top") != before
