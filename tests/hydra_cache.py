"""What Hydra works out again for every training is kept: most of the time that a tiny one takes.

fairseq hands Hydra 276 words for every training. Few of them choose groups of settings, which Hydra reads and
merges; the others set one value each. What the first give, and how each word is parsed, is kept here.
"""

import copy
import functools


def keep() -> None:
    """Keep what is composed and parsed from now on."""
    from fairseq.dataclass import utils
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    compose = utils.compose
    if hasattr(compose, "__wrapped__"):
        return

    @functools.cache
    def parsed(word):
        (override,) = OverridesParser.create().parse_overrides([word])
        return override

    @functools.cache
    def chosen(name, words):
        return compose(name, overrides=list(words), strict=True)

    @functools.wraps(compose)
    def quick(name, overrides, strict):
        groups = tuple(word for word in overrides if "." not in word.partition("=")[0])
        config = copy.deepcopy(chosen(name, groups))
        ConfigLoaderImpl._apply_overrides_to_config(
            [copy.copy(parsed(word)) for word in overrides if word not in groups], config
        )
        OmegaConf.set_struct(config, strict)
        return config

    utils.compose = quick


def fill() -> None:
    """Compose the settings of a training, whose words the next ones share."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    words = "x --task xai --criterion M2P_xai --arch musicbert_tiny --lr-scheduler fixed --optimizer adam"
    parser = options.get_training_parser()
    convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, input_args=words.split()))
