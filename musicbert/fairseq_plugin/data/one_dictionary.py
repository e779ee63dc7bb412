"""Tasks over the one dictionary of OctupleMIDI."""

from fairseq.data import Dictionary

__all__ = ["OneDictionary"]


class OneDictionary:
    """Mixin: source and target have the task's ``dictionary``, ``<mask>`` included; labels have none."""

    dictionary: Dictionary

    @property
    def source_dictionary(self) -> Dictionary:
        """Dictionary of the tokens, ``<mask>`` included."""
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        """The same dictionary."""
        return self.dictionary
