"""Package metadata. `make venv` shows the order of installation that fairseq needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "musicbert/__init__.py").read_text(), re.M).group(1)

# Reading, encoding and building need none of these; labels, models and their scores do.
MODELS = [
    "torch>=2.6",
    "safetensors>=0.4",
    "scipy>=1.13",
    "pandas>=2.2",
    "pyarrow>=15",
    "openpyxl>=3.1",
    "scikit-learn>=1.5",
    "matplotlib>=3.9",
    "threadpoolctl>=3",
    "pyyaml>=6",
]
# needs --no-build-isolation: see `make venv`
TRAIN = [*MODELS, "fairseq-fixed==0.12.3.1", "omegaconf>=2.3", "tensorboard>=2.16", "setuptools<81"]
DOCS = ["mkdocs-material>=9.5", "mkdocstrings-python>=1.12"]
PAGE = ["starlette>=1", "uvicorn>=0.30", "pebble>=5"]
# folders of checkpoints/ that come with the package; yours are not packed
SHIPPED = [
    "m2bert-mini", "m2bert-mini-layers", "m2bert-tiny", "musicbert-mini", "musicbert-mini-performance",
    "profile-percepiano",
]  # fmt: skip


def front_page() -> str:
    """README without what only the repository has: its pictures, and links to its files."""
    text = re.sub(r"^!\[[^\]]*\]\((?!https?:)[^()]*\)\n\n", "", (HERE / "README.md").read_text(), flags=re.M)
    return re.sub(r"\[([^\[\]]*)\]\((?!https?:)[^()\s]*\)", r"\1", text)


setup(
    name="musicbert",
    version=VERSION,
    description="MusicBERT and M2BERT on music, labels and ratings: a fairseq plug-in and a light library",
    long_description=front_page(),
    long_description_content_type="text/markdown",
    # the code; the weights in checkpoints/, for non-commercial use only
    license_expression="MIT AND CC-BY-NC-SA-4.0",
    license_files=["LICENSE", "checkpoints/README.md"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["musicbert", "musicbert.*"]), "musicbert.shipped"],
    package_dir={"musicbert.shipped": "checkpoints"},  # weights that `from_pretrained` finds offline
    package_data={
        "musicbert.shipped": [
            f"{folder}/{name}" for folder in SHIPPED for name in ("*.json", "*.md", "*.npz", "*.safetensors")
        ],
        "musicbert": [
            "py.typed",
            "analysis/page.css",
            "explanation/offered.json",
            "explanation/losses.json",
            "explanation/profile.json",
            "explanation/properties.json",
            "web/static/*",
            "weights/published_logits.npz",
            "corpus/sentences/pairs/chord_mapping.json",
            "corpus/files/public_data.json",
            "corpus/readers/published_splits.json",
        ],
    },
    entry_points={"console_scripts": ["musicbert = musicbert.cli.main:main"]},
    install_requires=[
        "numpy>=2",
        "miditoolkit>=1.0.1",
        "mido>=1.3",
        "symusic>=0.6",
        "tqdm>=4.66",
        "fsspec>=2024.2",
    ],
    extras_require={
        "models": MODELS,
        "train": TRAIN,
        "fairseq": TRAIN,  # the former name of `train`
        "cluster": ["distributed>=2024.8"],
        # what fsspec needs for http, s3 and gs
        "remote": ["aiohttp>=3.9", "s3fs>=2024.2", "gcsfs>=2024.2"],
        # written scores: MusicXML, ABC, Humdrum, MEI (`musicbert.midi.notation`)
        "scores": ["music21>=9"],
        # the instruments of `musicbert render`, not imported. Its synthesiser needs `pip install --no-deps
        # tinysoundfont`: the package requires PyAudio, for loudspeakers, which only on Windows has a wheel
        "sound": ["pretty_midi>=0.2.10", 'tinysoundfont>=0.3.7; sys_platform == "win32"'],
        # `musicbert serve`
        "page": PAGE,
        "docs": DOCS,
        # `from_pretrained("owner/name")`
        "hub": ["huggingface_hub>=0.26,<2"],
        "dev": [
            *PAGE,
            "httpx2",  # of the test client of Starlette
            "playwright>=1.44",  # tests of the page, where a Chromium is installed
            "huggingface_hub>=0.26,<2",
            *DOCS,
            "nbclient>=0.10",
            "ipykernel>=6.29",
            "pretty_midi>=0.2.10",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "aiohttp>=3.9",
            "distributed>=2024.8",
            "ruff>=0.6",
            "mypy>=1.11",
            "import-linter>=2",
            "transformers>=4.48,<5",  # the other implementation of ModernBERT
            "pre-commit>=3.7",
            "music21>=9",
            "captum>=0.8",  # the other implementation of integrated gradients
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: MIDI",
    ],
)
