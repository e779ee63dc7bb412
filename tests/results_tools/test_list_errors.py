"""The page of error reasons is what the code says."""

from list_errors import PAGE, page, reasons


def test_the_page_is_up_to_date(root):
    assert PAGE.read_text(encoding="utf-8") == page(root / "musicbert"), (
        "run: python results/tools/list_errors.py"
    )


def test_reasons_are_found_with_message_and_hint(tmp_path):
    (tmp_path / "room.py").write_text(
        "def read(path):\n"
        "    raise MidiError('no-notes', f'{len(path)} notes', path=path, hint='add ' 'notes')\n"
        "    raise ValueError('not a reason, but a sentence', 1)\n"
    )
    assert reasons(tmp_path) == {"no-notes": {"MidiError": ("{len} notes", "add notes")}}
