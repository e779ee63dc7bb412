"""Every option of every command changes what comes out, or is refused; a new option needs a line here.

`TABLES`: command (and how it is used) -> its base, and option -> words that are added to the base, or another base
and words. Words that begin with ``!`` are refused, ``~`` may be an error, ``=`` take the place of the base.
"""

import argparse
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from musicbert.cli.main import available, make_parser
from musicbert.cli.main import main as musicbert
from options.effects import check, check_table, options_of

#: music that the encoding cannot represent, for commands that take one file
POLICIES = {
    "--mid-bar-metre": ("{{}} {midbar}", "--mid-bar-metre split"),
    "--unsupported-metre": ("{{}} {unsupported}", "~--unsupported-metre nearest"),
    "--long-metre": ("{{}} {metre}", "--long-metre split"),
    "--zero-ticks": ("{{}} {zero}", "--zero-ticks drop"),
    "--beyond-limit": ("{{}} {beyond}", "~--beyond-limit error"),
    "--channel-programs": ("{{}} {elsewhere}", "--channel-programs channel"),
}
NO_POLICIES = {name: f"!{words}" for name, (_, words) in POLICIES.items()}
NO_POLICIES = {name: words.replace("!~", "!") for name, words in NO_POLICIES.items()}
#: of written scores, so in all encodings
REPEATS = ("{{}} {repeated}", "--repeats played")


def policies(base):
    """Entries of the policies of a command."""
    table = {**POLICIES, "--repeats": REPEATS}
    return {name: (start.replace("{{}}", base), words) for name, (start, words) in table.items()}


ENCODE = {
    "inputs": ("encode {song}", "=encode {other}"),
    "--output": "--output out",
    "--format": "--format csv",
    "--encoding": "--encoding cp",
    "--windows": ("encode {long}", "--windows"),
    "--chunk": "!--chunk 8",
    "--reader": ("encode {song} {damaged}", "--reader miditoolkit"),
    **policies("encode"),
}
MODEL = {
    "--model": "--model {plain}",
    "--device": "~--device nonsense",
    "--precision": "--precision bfloat16",
}
EMBED = {
    "inputs": ("embed {song} --model {micro} -o e.npz", "=embed {other} --model {micro} -o e.npz"),
    **MODEL,
    "--labels": "!--labels classes.json",
    "--output": "--output other.npz",
    "--level": "--level note",
    "--pooling": "--pooling mean",
    "--layer": "--layer 0",
    **{
        name: (f"{base} --model {{micro}} --output e.csv", words)
        for name, (base, words) in policies("embed").items()
    },
}
PREDICT = {
    "inputs": ("predict {song} --model {micro}", "=predict {other} --model {micro}"),
    **MODEL,
    "--model": "~--model {plain}",
    "--labels": "--labels {classes}",
    "--output": "--output out.csv",
    "--heads": "~--heads nonsense",
    "--part": "!--part test",
    "--split": "!--split clean",
    **{name: (f"{base} --model {{micro}}", words) for name, (base, words) in policies("predict").items()},
}
FILL = "fill {song} --model {micro} --output f.mid --table f.csv"
SAMPLED = f"{FILL} --temperature 2"
ROLL = "plot roll {song} --output p.png"
TITLE = {"--output": "--output other.png", "--title": "--title Another"}
RENDER = "render {song} --output s.wav --sample-rate 8000"
REMIX = "remix {song} --model {micro} --versions 1 --rank-passes 1 --output r"
BUILD = "build {midi} --output c --shares 60 20 20"
TABLES = {
    "encode": ("encode {song}", ENCODE),
    "encode, csv": ("encode {song} --format csv", {
        **ENCODE, "--format": "--format text", "--windows": "!--windows", "--chunk": "!--chunk 8",
    }),
    "encode, npy": ("encode {song} --format npy --output out", {
        **ENCODE, "--output": "--output elsewhere", "--format": ("encode {song} --output out", "--format csv"),
        "--windows": "!--windows",
    }),
    "encode, cp": ("encode {song} --encoding cp", {
        **ENCODE, "--encoding": "--encoding cp-midibert", "--windows": "!--windows",
        "--chunk": ("encode {song} --encoding cp --format npy --output out", "--chunk 8"),
        "--reader": ("encode {song} {damaged} --encoding cp", "--reader miditoolkit"), **NO_POLICIES,
        "--repeats": ("encode {repeated} --encoding cp", "--repeats played"),
    }),
    "analyse": ("analyse {song}", {
        "inputs": "=analyse {other}", "--model": "--model {micro}", "--device": "!--device cpu",
        "--coverage": ("analyse {played}", "--coverage 0.9"), "--format": "--format json",
        "--output": "--output a.json", "--channel-programs": ("analyse {elsewhere}", "--channel-programs channel"),
        "--repeats": ("analyse {repeated}", "--repeats played"),
    }),
    "embed": ("embed {song} --model {micro} --output e.npz", EMBED),
    "embed, notes": ("embed {song} --model {micro} --output e.npz --level note", {
        **EMBED, "--level": "--level bar", "--pooling": "!--pooling mean",
    }),
    "embed, M2BERT": ("embed {song} --model m2bert-tiny --output e.npz", {
        **EMBED, "--pooling": "!--pooling first", **NO_POLICIES,
        "--repeats": ("embed {repeated} --model m2bert-tiny --output e.npz", "--repeats played"),
    }),
    "index": ("index {midi} -o out", {
        "folder": ("index {midi} -o out", "=index {one} -o out"), "--output": ("index {midi} -o out", "=index {midi} -o other"),
        "--model": "--model {micro}", "--layer": ("index {one} -o out --model {micro}", "--layer 0"),
        "--device": ("index {one} -o out --model {micro}", "~--device nonsense"), "--overwrite": ("index {one} -o {network_index}", "~--overwrite"), "--quiet": "--quiet",
    }),
    "index, features": ("index {one} -o out", {"--layer": "!--layer 1", "--device": "!--device cpu"}),
    "similar": ("similar {song} --index {index}", {
        "input": ("similar {song} --index {index}", "=similar {other} --index {index}"),
        "--index": ("similar {song} --index {index}", "=similar {song} --index {one_index}"),
        "--bars": "--bars 5-8", "--of": ("similar {song} --index {index} --bars 5-8", "--of pieces"), "--top": "--top 2",
        "--any-key": "--any-key", "--json": "--json", "--no-whiten": ("similar {song} --index {index} --bars 2-2", "--whiten"),
        "--model": ("similar {song} --index {network_index}", "~--model {plain}"),
        "--device": ("similar {song} --index {network_index}", "~--device nonsense"),
    }),
    "similar, whole": ("similar {song} --index {index}", {"--of": "!--of bars"}),
    "predict": ("predict {song} --model {micro}", PREDICT),
    "predict, a model of finetune": ("predict {song} --model {tagger}", {
        **PREDICT, "--labels": "!--labels classes.json",
        **{name: (f"{base} --model {{tagger}}", words) for name, (base, words) in policies("predict").items()},
    }),
    "fill": (FILL, {
        "input": (FILL.replace("{song}", "{other}").replace("fill", "fill", 1), "--table other.csv"),
        **MODEL, "--labels": "!--labels classes.json",
        "--output": "--output other.mid", "--table": "--table other.csv", "--fields": "--fields velocity",
        "--bars": "--bars 1-2", "--programs": "--programs 1", "--notes": "--notes 1 2", "--share": "--share 0.5",
        "--order": "--order notes", "--steps": (f"{FILL} --order confident", "--steps 2"),
        "--temperature": "--temperature 2", "--top-k": (SAMPLED, "--top-k 1"),
        "--top-p": (SAMPLED, "--top-p 0.1"), "--seed": (SAMPLED, "--seed 5"),
        "--tracks": "--tracks 1", "--instrument": "--instrument 0=violin", "--allow": "--allow pitch=1",
        "--scale": "--scale C-blues", "--repetition-penalty": "--repetition-penalty 1e9",
        "--distinct": (f"{FILL} --fields position pitch --allow position=0 pitch=60,61", "--distinct"),
        "--context": (f"{FILL} --notes 20", "--context 3"),
        **{name: (f"{base} --model {{micro}} --output f.mid --table f.csv", words)
           for name, (base, words) in policies("fill").items()},
    }),
    "fill, most probable": (FILL, {
        "--steps": "!--steps 2", "--top-k": "!--top-k 1", "--top-p": "!--top-p 0.5", "--seed": "--seed 5",
        "--allow": "!--allow tempo=100", "--temperature": "!--temperature tempo=1",
        "--repetition-penalty": "!--repetition-penalty tempo=2", "--scale": (f"{FILL} --fields tempo", "!--scale C"),
    }),
    "remix": (REMIX, {
        "input": (REMIX, "=remix {other} --model {micro} --versions 1 --rank-passes 1 --output r"),
        **MODEL, "--labels": "!--labels classes.json", "--list": ("remix {song}", "=remix {song} --list"),
        "--output": "--output other", "--versions": "--versions 2", "--rank-passes": "--rank-passes 2",
        "--sound": (f"{REMIX} --bars 2-2", "--sound"), "--pictures": (f"{REMIX} --bars 2-2", "--pictures"), "--bars": "--bars 2-3", "--tracks": "--tracks 1", "--programs": "--programs 1", "--share": "--share 1",
        "--fields": "--fields velocity", "--drums": (REMIX.replace("{song}", "{drums}"), "--drums pattern"),
        "--instrument": "--instrument 0=violin", "--order": "--order notes", "--steps": "--steps 2",
        "--temperature": "--temperature 3", "--top-k": "--top-k 1", "--top-p": "--top-p 0.1",
        "--repetition-penalty": "--repetition-penalty 1e9", "--allow": "--allow pitch=60-62",
        "--scale": "--scale C-blues", "--seed": "--seed 5", "--context": (f"{REMIX} --bars 4-5", "--context 3"),
        **{name: (f"{base} --model {{micro}} --versions 1 --rank-passes 1 --share 1 --output r", words)
           for name, (base, words) in policies("remix").items()},
    }),
    "remix, parts": ("remix {song} --list", {"--bars": "!--bars 1-2", "--output": "!--output r", "--seed": "!--seed 1"}),
    "remix, most probable": ("remix {song} --model {micro} --rank-passes 1 --temperature 0 --output r", {
        "--versions": "!--versions 2", "--top-k": "!--top-k 1", "--top-p": "!--top-p 0.5",
        "--temperature": "!--temperature tempo=1", "--allow": "!--allow tempo=100",
        "--steps": ("remix {song} --model {micro} --rank-passes 1 --output r", "!--steps 2 --order notes"),
    }),
    "plot roll": (ROLL, {
        "input": (ROLL, "=plot roll {other} --output p.png"), **TITLE, "--bars": "--bars 1-2", "--from": "--from 2",
        "--to": "--to 3", "--by": "--by velocity", "--name": "!--name a", "--baseline": "!--baseline neutral",
        "--model": "!--model {tagger}", "--repeats": (ROLL.replace("{song}", "{repeated}"), "--repeats played"),
    }),
    "plot roll, contributions": (f"{ROLL} --by contribution --model {{tagger}}", {
        "--name": "--name b", "--baseline": "--baseline neutral", "--model": "~--model {plain}",
    }),
    "plot fields": ("plot fields {song} --output p.png", {
        "input": ("plot fields {song} --output p.png", "=plot fields {other} --output p.png"), **TITLE,
        "--bars": "--bars 1-2", "--from": "--from 2", "--to": "--to 3",
        "--repeats": ("plot fields {repeated} --output p.png", "--repeats played"),
    }),
    "plot masks": ("plot masks {song} --output p.png", {
        "input": ("plot masks {song} --output p.png", "=plot masks {other} --output p.png"), **TITLE,
        "--bars": "--bars 1-2", "--from": "--from 2", "--to": "--to 3", "--mask-strategy": "--mask-strategy element",
        "--mask-prob": "--mask-prob 0.5", "--seed": "--seed 5",
        "--repeats": ("plot masks {repeated} --output p.png", "--repeats played"),
    }),
    "plot attention": ("plot attention {song} --model {micro} --output p.png", {
        "input": ("plot attention {song} --model {micro} --output p.png", "=plot attention {other} --model {micro} --output p.png"),
        **TITLE, "--model": "--model musicbert-mini", "--window": "~--window 1",
        "--repeats": ("plot attention {repeated} --model {micro} --output p.png", "--repeats played"),
    }),
    "plot profile": ("plot profile {song} --output p.png", {
        "input": ("plot profile {song} --output p.png", "=plot profile {other} --output p.png"), **TITLE,
        "--model": "--model {micro}",
    }),
    "plot curves": ("plot curves {log} --output p.png", {
        "input": ("plot curves {log} --output p.png", "=plot curves {log} {log2} --output p.png"), **TITLE,
        "--quantities": "--quantities lr",
    }),
    "render": (RENDER, {
        "input": (RENDER, "=render {other} --output s.wav --sample-rate 8000"), "--output": "--output other.wav",
        "--bars": "--bars 1-2", "--from": "--from 2", "--to": "--to 3", "--sample-rate": "--sample-rate 4000",
        "--gain": "--gain 3", "--bank": "!--bank none.sf2", "--quiet": "--quiet",
        "--repeats": (RENDER.replace("{song}", "{repeated}"), "--repeats played"),
    }),
    "serve": ("serve --port 48123", {
        "--port": "!--port 70000", "--host": "--host localhost", "--workers": "--workers 3", "--seconds": "--seconds 5",
        "--index": "--index {index}", "--no-browser": "--no-browser",
    }),
    "explain": ("explain {song} --model {micro}", {
        "input": ("explain {song} --model {micro} -o out", "=explain {other} --model {micro} -o out"), "--model": "--model {tagger}",
        "--head": "~--head nonsense", "--network": "!--network musicbert-mini", "--written": "!--written {song}",
        "--dimension": "--dimension 1", "--refits": "--refits {micro} {micro}", "--change": "~--change", "--by": "!--by 0.1",
        "--notes": "--dimension 1 --notes", "--against": ("explain {song} --model {micro} --dimension 1 --notes", "--against {song}"), "--output": "--output out", "--device": "~--device nonsense",
        "--sound": ("explain {song} --model {micro} --output out", "--sound"),
        "--channel-programs": ("explain {elsewhere} --model {micro} --output out", "--channel-programs channel"),
        "--repeats": ("explain {repeated} --model {micro} --output out", "--repeats played"),
    }),
    "build": (BUILD, {
        "sources": ("build {midi} -o c", "=build {midi} {song} -o c"), "--output": "--output other", "--encoding": "--encoding cp",
        "--metres": ("build {basic} {metre} -o c", "--metres one-4/4"), "--format": "--format text",
        "--shard-tokens": "--shard-tokens 400", "--performance-input": "--performance-input",
        "--score-input": (f"{BUILD} --performance-input --max-failure-rate 1", "~--score-input"),
        "--exclude": "--exclude p3", "--exclude-music": "~--exclude-music nonsense", "--seed": "--seed 8", "--window": "--window 16", "--overlap": (f"{BUILD} --window 16", "--overlap 1"),
        "--shares": "--shares 40 30 30", "--split": "--split hash", "--keep-duplicates": ("build {song} {one} {midi} -o c", "--keep-duplicates"),
        "--ignore-near-duplicates": ("build {song} {one} {midi} -o c --keep-duplicates --shares 34 33 33", "--ignore-near-duplicates"),
        **{name: (f"{base} --output c --shares 60 20 20 --max-failure-rate 1", words) for name, (base, words) in policies("build {midi}").items()},
        "--bar-overflow": ("build {midi} {bars} --output c --shares 60 20 20", "~--bar-overflow error"),
        "--reader": ("build {midi} {damaged} --output c --max-failure-rate 1", "--reader miditoolkit"),
        "--workers": "~--workers 2", "--scheduler": "~--scheduler nowhere:1",
        "--overwrite": (f"{BUILD} --output {{old}}", "~--overwrite"), "--restart": (f"{BUILD} --output {{begun}}", "~--restart"),
        "--max-failure-rate": ("build {midi} {unsupported} -o c", "--max-failure-rate 1"), "--quiet": "--quiet",
    }),
    "build, compound words": (f"{BUILD} --encoding cp", {
        "--window": "!--window 16", "--overlap": "!--overlap 1", "--bar-overflow": "!--bar-overflow error",
        "--performance-input": "~--performance-input", "--format": "~--format text", **NO_POLICIES,
    }),
    "build, a scheduler": (BUILD, {"--workers": (f"{BUILD}", "!--scheduler nowhere:1 --workers 2")}),
    "checkpoint info": ("checkpoint info {micro}", {"checkpoint": ("checkpoint info {micro}", "=checkpoint info {plain}"), "--json": "--json"}),
    "checkpoint convert": ("checkpoint convert {micro} new", {
        "checkpoint": ("checkpoint convert {plain} new", "=checkpoint convert {micro} new"), "target": ("checkpoint convert {micro} new", "=checkpoint convert {micro} old"),
        "--to": "--to hugging-face", "--float16": "--float16", "--labels": "--labels {classes}", "--about": "--about {about}",
        "--overwrite": ("checkpoint convert {micro} {old_model}", "~--overwrite"),
    }),
    "checkpoint convert, a file": ("checkpoint convert {micro} new.pt", {"--about": "!--about {about}"}),
    "checkpoint verify": ("checkpoint verify {micro}", {
        "checkpoint": ("checkpoint verify {plain} --record n", "=checkpoint verify musicbert-mini --record n"), "--expected": "~--expected {numbers}",
        "--record": "~--record n.npz",
    }),
    "checkpoint verify, recording": ("checkpoint verify {micro} --record n.npz", {"--expected": "!--expected {numbers}"}),
    "data list": ("data list", {"--json": "--json"}),
}  # fmt: skip
#: tables that show combinations, and not all options
PARTIAL = {"index, features", "similar, whole", "fill, most probable", "remix, parts", "remix, most probable", "build, compound words", "build, a scheduler", "checkpoint convert, a file",
           "checkpoint verify, recording", "plot roll, contributions"}  # fmt: skip
CASES = [(name, option) for name, (_, table) in TABLES.items() for option in table]


def parser_of(words):
    """The parser of a command, or of an action of one."""
    parser = make_parser(words.split()[0])
    for word in words.split():
        below = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
        parser = below.choices[word]
    return parser


@pytest.fixture(scope="module")
def call(caller, tagger, tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("earlier")
    (folder / "about.md").write_text("About it.")
    (folder / "classes.json").write_text('{"classes": ["rock", "jazz", "folk"], "dimensions": []}')
    assert (
        musicbert(["build", str(places["one"]), "--output", str(folder / "old"), "--shares", "1", "0", "0"])
        == 0
    )
    for name, loss in (("log", 1), ("log2", 2)):
        rows = [
            f'| INFO | train | {{"epoch": {k}, "train_loss": "{loss / k}", "train_lr": "{k}"}}'
            for k in (1, 2, 3)
        ]
        (folder / name).write_text("\n".join(rows))
    (folder / ".begun.building").mkdir()
    (folder / ".begun.building" / "plan.json").write_text("another")
    for words in (["convert", "{micro}", "{old_model}"], ["verify", "{micro}", "--record", "{numbers}"]):
        values = {**places, "old_model": folder / "old_model", "numbers": folder / "numbers.npz"}
        assert musicbert(["checkpoint", *(word.format(**values) for word in words)]) == 0
    for name, words in {
        "index": "{midi}",
        "one_index": "{one}",
        "network_index": "{one} --model {micro}",
    }.items():
        assert musicbert(["index", *words.format(**places).split(), "-o", str(folder / name), "--quiet"]) == 0
    values = {
        "index": folder / "index", "one_index": folder / "one_index", "network_index": folder / "network_index",
        "tagger": tagger, "old": folder / "old", "begun": folder / "begun", "about": folder / "about.md",
        "log": folder / "log", "log2": folder / "log2", "classes": folder / "classes.json", "old_model": folder / "old_model", "numbers": folder / "numbers.npz",
    }  # fmt: skip
    with ExitStack() as stack:
        with suppress(ImportError):
            from dask import config

            # where nobody answers, half a minute is waited by default
            stack.enter_context(config.set({"distributed.comm.timeouts.connect": "100ms"}))
        yield caller(lambda words, _: _with_a_profile(words), values=values)


def _with_a_profile(words):
    """Call a command; `plot profile` draws one that is made up of the name of the file and of the model.

    `serve` says where and how, and ends.
    """
    if words[0] == "serve":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("musicbert.web.serve", lambda *place, **how: print(place, how))  # noqa: T201
            patch.setattr("webbrowser.open", lambda _: True)
            return musicbert(words)
    if words[:2] != ["plot", "profile"]:
        return musicbert(words)

    def analyse(source, *, model, **_):
        shown = SimpleNamespace(
            area="", low="low", high="high", value=len(Path(source).name) / 20, interval=None if model else (0.1, 0.9),
            percentile=None, coverage=0.8, rated=lambda value: value,
        )  # fmt: skip
        return SimpleNamespace(profile=SimpleNamespace(dimensions=[shown], scale=None))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("musicbert.analyse", analyse)
        return musicbert(words)


def test_every_command_and_action_has_a_table():
    from options.test_finetune_options import TABLES as FINETUNE
    from options.test_program_options import TABLES as PROGRAMS

    tables = {name.partition(",")[0] for name in (*TABLES, *FINETUNE, *PROGRAMS)}
    for command in set(available()) - {"train"}:  # its recipes: `test_recipe_options`
        below = [each for each in parser_of(command)._actions if isinstance(each, argparse._SubParsersAction)]
        names = [f"{command} {action}" for each in below for action in each.choices] or [command]
        assert set(names) <= tables, names


@pytest.mark.parametrize("name", sorted(set(TABLES) - PARTIAL))
def test_every_option_is_in_the_table(name):
    parser = parser_of(name.partition(",")[0])
    check_table({name: parser}, {name: TABLES[name][1]})
    assert options_of(parser)


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_something_or_is_refused(call, name, option):
    base, table = TABLES[name]
    check(call, base, option, table[option])
