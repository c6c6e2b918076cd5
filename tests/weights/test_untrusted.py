"""Artefacts made by someone else: refused in one line, before heavy work, and nothing of theirs
is imported or run."""

import json
import os
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.finished import refused
from helpers.hostile import ODD, edit, opened, refusals
from tokenizers import Tokenizer

from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.errors import ConfigError
from eat_lightning.model.policies import build_policies
from eat_lightning.runs.run import Run
from eat_lightning.untrusted import TOKENIZER, step_faults
from eat_lightning.weights.checkpoint import load_model


@pytest.mark.slow
def test_any_value_in_a_models_config_is_taken_or_refused_in_one_line(run: Path):
    path = run / "model" / "config.json"
    sound = json.loads(path.read_text())
    assert refusals(lambda: load_model(path.parent), path, json.dumps, sound) > 300


def test_any_value_in_a_runs_config_is_taken_or_refused_in_one_line(run: Path):
    path = run / "config.yaml"
    sound = yaml.safe_load(path.read_text())
    assert refusals(lambda: Run.open(run), path, yaml.safe_dump, sound) > 100


def test_deep_and_large_files_are_refused(run: Path):
    for name in ("model/config.json", "done.json", "config.yaml"):
        whole = (run / name).read_bytes()
        for content in (b"[" * 100_000, b'{"a": "' + b"x" * (2 << 20) + b'"}'):
            (run / name).write_bytes(content)
            assert "cannot be read" in refused(opened, run)
        (run / name).write_bytes(whole)


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(run: Path):
    (run / "model" / "config.json").unlink()
    os.mkfifo(run / "model" / "config.json")
    assert "there is no such file" in refused(load_model, run / "model")


def test_aliases_that_stand_for_gigabytes_are_not_read(run: Path):
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    (run / "config.yaml").write_text("\n".join(lines))
    assert "aliases (*) are not read" in refused(Run.open, run)
    (run / "config.yaml").write_text("task: !!python/object/apply:os.mkdir [pwned]")
    assert "could not determine a constructor" in refused(Run.open, run)


TARGETS = [
    *("os.mkdir", "owned.Evil", "eat_lightning.runs.run.write_text", "x", ".", 7),
    *("eat_lightning.data.task.field", "eat_lightning.methods.attention.dense.nope"),
]
SLOTS = ["task", "attention", "reduction", "exit"]


@pytest.mark.parametrize(
    ("target", "slot"),
    [*((target, "data") for target in TARGETS), *(("owned.Evil", slot) for slot in SLOTS)],
)
def test_a_runs_config_imports_and_calls_nothing_else(
    target, slot: str, run: Path, monkeypatch: pytest.MonkeyPatch
):
    (run / "owned.py").write_text("import os\nos.mkdir('pwned')\n\n\nclass Evil: ...\n")
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config[slot] = {"_target_": target, "path": "pwned", "args": ["mkdir", "pwned"]}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert f"{slot}._target_" in refused(lambda: Run.open(run).data())
    assert not (run / "pwned").exists()
    assert "owned" not in sys.modules


OWNED = """
from eat_lightning.methods.attention.dense import Dense

class Mine(Dense): ...
"""


def test_a_class_of_ones_own_is_imported_where_its_owner_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    (run / "of_mine.py").write_text(OWNED)
    monkeypatch.syspath_prepend(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["attention"] = {"_target_": "of_mine.Mine"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    edit(run / "model" / "config.json", attention={"kind": "of_mine.Mine"})
    assert "set EAT_IMPORT=<its module> if you trust it" in refused(opened, run)
    monkeypatch.setenv("EAT_IMPORT", "other,of_mine")
    assert type(opened(run).encoder.attention).__name__ == "Mine"
    del sys.modules["of_mine"]


def test_a_kind_does_not_make_a_lazy_module_import(run: Path):
    import transformers

    lazy = "BertModel"
    before = lazy in vars(transformers)
    edit(run / "model" / "config.json", attention={"kind": f"transformers.{lazy}"})
    assert " is no " in refused(load_model, run / "model")
    assert (lazy in vars(transformers)) == before


def test_a_model_folder_names_no_target_that_is_imported(run: Path):
    given = {"kind": "never", "_target_": "antigravity.Rule"}
    edit(run / "model" / "config.json", exit=given)
    assert "exit._target_ is not an option of never" in refused(load_model, run / "model")
    with pytest.raises(ValueError, match=r"^policy\._target_ is not an option of veto"):
        build_policies([given | {"kind": "veto"}])
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("name", ["config.yaml", "model/model.safetensors", "model", "rows.jsonl"])
def test_a_link_out_of_the_run_is_refused(name: str, run: Path, tmp_path: Path):
    path, outside = run / name, tmp_path / "outside"
    if path.exists():
        path.rename(outside)
    path.symlink_to(outside)
    if outside.exists():
        assert "a link that leads out of the run" in refused(Run.open, run)
    else:
        outside.write_text("")
        assert "a link that leads out of the run" in refused(Run.open, run)


def tokenizer_with(folder: Path, **changes) -> Path:
    edit(folder / "model" / "tokenizer.json", **changes)
    return folder / "model"


def steps_of(part: str, *steps: dict) -> list[str]:
    """The faults of a tokenizer, as the library read it."""
    lists = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}
    chain = {"type": "Sequence", lists[part]: [*steps]}
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]], "byte_fallback": False}
    content = {"version": "1.0", "added_tokens": [], part: chain, "model": model}
    return step_faults(Tokenizer.from_str(json.dumps(content)))


def test_a_tokenizer_that_would_grow_a_text_is_refused(run: Path):
    double = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    folder = tokenizer_with(run, normalizer={"type": "Sequence", "normalizers": [double] * 16})
    plain: Any = tokenizer_for(str(folder))  # transformers makes BERT's steps itself
    assert plain.backend_tokenizer.normalizer.normalize_str("a") == "a"
    edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert "Replace must not lengthen a text" in refused(tokenizer_for, str(folder))
    assert "Replace must not lengthen a text" in refused(opened, run)


def charsmap(*strings: bytes) -> dict:
    """A table of SentencePiece: its trie's length, the trie, and the strings it leads to."""
    table = (8).to_bytes(4, "little") + b"\0" * 8 + b"".join(one + b"\0" for one in strings)
    return {"type": "Precompiled", "precompiled_charsmap": b64encode(table).decode()}


def replaced(pattern: dict, content: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
ALBERT = [replaced({"String": "``"}, '"'), replaced({"String": "''"}, '"'), {"type": "NFKD"}]


@pytest.mark.parametrize(
    ("part", "steps", "said"),
    [
        ("normalizer", [*ALBERT, charsmap(b"a", b"fi")], ""),
        ("normalizer", [charsmap(b"a"), replaced({"Regex": " {2,}"}, "\u2581")], ""),  # XLM-RoBERTa
        ("normalizer", [replaced({"String": " "}, "\u2581")], ""),
        ("normalizer", [replaced({"String": ""}, "a")], "must not lengthen"),
        ("normalizer", [{"pattern": {"String": "a"}, "content": "aa"}], "must not lengthen"),
        ("normalizer", [replaced({"Regex": "(a+)+$"}, "")], "must be a plain string"),
        ("normalizer", [charsmap(b"a" * 65)], "entries of at most 64 bytes"),
        ("normalizer", [charsmap(b"a"), charsmap(b"a")], "must have Precompiled once, got 2"),
        ("normalizer", [{"type": "ByteLevel"}] * 3, "must have ByteLevel once, got 3"),
        ("normalizer", [replaced({"String": "a"}, "b")] * 40, "at most 64 steps, got 81"),
        ("pre_tokenizer", [{"type": "Whitespace"}, BYTES], ""),
        ("pre_tokenizer", [BYTES, BYTES], "must have ByteLevel once, got 2"),
        (
            "pre_tokenizer",
            [
                {
                    "type": "Split",
                    "pattern": {"Regex": "(a+)+$"},
                    "behavior": "Isolated",
                    "invert": False,
                }
            ],
            "must be a plain string",
        ),
    ],
)
def test_steps_that_grow_a_text_or_backtrack(part: str, steps: list[dict], said: str):
    (fault,) = steps_of(part, *steps) or [""]
    assert (said in fault) if said else fault == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "Python"}},
        {"model": {"type": "Evil"}},
        {"model": 7},
        {"added_tokens": 7},
        {"model": {"type": "WordPiece", "vocab": {"a": -1}}},
    ],
)
def test_a_tokenizer_that_is_none_is_refused_in_one_line(changes: dict, run: Path):
    assert refused(tokenizer_for, str(tokenizer_with(run, **changes)))


def test_a_tokenizers_files_are_bounded(run: Path):
    path = run / "model" / "tokenizer.json"
    with path.open("r+b") as file:
        file.truncate(TOKENIZER + 1)  # takes no room on the disk
    assert f"{TOKENIZER + 1} bytes, and at most {TOKENIZER} are read" in refused(opened, run)
    path.write_text("[" * 100_000)
    assert "holds no tokenizer to read" in refused(opened, run)


def test_a_tokenizers_code_is_not_run_and_not_asked_about(run: Path):
    folder = run / "model"
    (folder / "evil.py").write_text("import os\nos.mkdir('pwned')\n")
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    with suppress(ConfigError):
        tokenizer_for(str(folder))
    assert not Path("pwned").exists()
    assert "evil" not in sys.modules


def test_an_id_that_the_encoder_has_not(run: Path):
    from safetensors.torch import load_file, save_file

    path = run / "model" / "model.safetensors"
    weights = load_file(path)
    name = "encoder.embedding.word.weight"
    weights[name] = weights[name][:20].clone()
    save_file(weights, path)
    edit(run / "model" / "config.json", vocab_size=20)
    assert "its tokenizer has id" in refused(opened, run)


def test_real_bodies_tokenizers_are_taken(minilm_dir: Path):
    assert step_faults(tokenizer_for(str(minilm_dir)).backend_tokenizer) == []


def test_rows_are_checked_field_by_field(tmp_path: Path):
    from dataclasses import asdict

    from helpers.studies import EAT, make_row

    from eat_lightning.runs.jsonl import read_whole
    from eat_lightning.runs.row import Row

    sound, path = asdict(make_row(**EAT)), tmp_path / "rows.jsonl"
    lines, hostile = [], 0
    for key in sound:
        for value in ODD:
            lines.append(json.dumps(sound | {key: value}))
            hostile += 1
    bad = ["[" * 100_000, "[]", "3", '{"exit_shares": 3}']
    bad.append(json.dumps(sound | {"examples": "../../x.parquet"}))
    bad.append(json.dumps(sound | {"examples": "/etc/passwd"}))
    path.write_text("\n".join([*lines, *bad]))
    rows, faults = read_whole(path, Row)
    assert len(rows) + len(faults) == hostile + len(bad)
    assert all(fault.isprintable() for fault in faults)
    assert all(any(f"line {hostile + k + 1}:" in f for f in faults) for k in range(len(bad)))


def test_examples_that_do_not_fit_each_other(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eat_lightning.record.record import Record

    sound = {"label": [0, 1], "length": [3, 4], "tokens_2": [2, 4]}
    sound |= {"logits_1": [[0.1, 0.2]] * 2, "logits_2": [[0.1, 0.2]] * 2}
    path = tmp_path / "x.parquet"

    def read(**changes) -> Record:
        pq.write_table(pa.table(sound | changes), path)
        return Record.read(path)

    assert len(read()) == 2
    for changes in (
        {"logits_2": [[0.1], [0.2]]},
        {"logits_2": [1.0, 2.0]},
        {"logits_x": [[0.1, 0.2]] * 2},
        {"tokens_2": [[3, 2], [4, 4]]},
        {"tokens_2": [9, 4]},
        {"tokens_2": [-2, 4]},
        {"label": ["a", "b"]},
        {"length": ["a", "b"]},
    ):
        assert "no examples of this version" in refused(lambda c=changes: read(**c))
