"""What Hydra works out again for every training is kept: most of the time that a tiny one takes.

fairseq hands Hydra the same 276 words for every training, but for the options that were given; Hydra parses
each of them anew and copies the declarations of all settings.
"""

import copy
import functools


def keep() -> None:
    """Keep parsed words and declarations from now on."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parse = OverridesParser.parse_rule
    if hasattr(parse, "__wrapped__"):
        return

    @functools.cache
    def parsed(word, rule):
        return parse(OverridesParser.create(), word, rule)

    @functools.wraps(parse)
    def parse_rule(_, word, rule):
        return copy.copy(parsed(word, rule))

    OverridesParser.parse_rule = parse_rule
    ConfigStore.__deepcopy__ = lambda self, _: self  # it is only read


def fill() -> None:
    """Compose the settings of a training, which the next ones share."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    words = "x --task xai --criterion M2P_xai --arch musicbert_tiny --lr-scheduler fixed --optimizer adam"
    parser = options.get_training_parser()
    convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, input_args=words.split()))
