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


def test_names_and_helpers_stand_for_what_they_are(tmp_path):
    (tmp_path / "room.py").write_text(
        "EMPTY, HINT = 'no-piece', 'add one'\n"
        "def read(path, found):\n"
        "    message = f'{found} pieces'\n"
        "    reason = 'not-found' if path else 'cannot-read'\n"
        "    if found:\n"
        "        raise DatasetError(reason, message)\n"
        "    raise DatasetError(EMPTY, message, hint=HINT)\n"
        "def _bad(reason, message):\n"
        "    return RatingError(reason, message, hint='mend it')\n"
        "class Bin:\n"
        "    def _error(self, reason, message):\n"
        "        return DatasetError(reason, message, hint=HINT)\n"
        "    def check(self):\n"
        "        raise self._error('bad-bin', 'a bad bin')\n"
        "def check(text, why):\n"
        "    raise _bad('bad-text', f'{text} is bad')\n"
        "def pass_on(message, hint):\n"
        "    raise MidiError('passed-on', message, hint=hint)\n"
    )
    assert reasons(tmp_path) == {
        "bad-bin": {"DatasetError": ("a bad bin", "add one")},
        "bad-text": {"RatingError": ("{text} is bad", "mend it")},
        "cannot-read": {"DatasetError": ("{found} pieces", "")},
        "no-piece": {"DatasetError": ("{found} pieces", "add one")},
        "not-found": {"DatasetError": ("{found} pieces", "")},
        "passed-on": {"MidiError": ("", "")},
    }
