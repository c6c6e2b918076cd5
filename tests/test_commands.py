"""`eat` and its commands: names, help without heavy imports, completion, quiet ends."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from helpers.finished import started
from lightning.pytorch.utilities.exceptions import SIGTERMException

from eat_lightning import __main__ as eat
from eat_lightning import __version__
from eat_lightning.composing import compose_or_explain
from eat_lightning.process import quiet_exit

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "transformers", "datasets", "pandas", "matplotlib")
IMPORTS = f"""
import sys
from importlib import import_module
from importlib.util import find_spec
from eat_lightning.__main__ import COMMANDS
for name in COMMANDS:
    spec = find_spec(f"eat_lightning.{{name}}")
    module = spec.name + ".__main__" if spec.submodule_search_locations else spec.name
    assert callable(import_module(module).main)
    print(name, *[module for module in {HEAVY} if module in sys.modules])
"""


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_alone_it_lists_the_groups(words, capsys: pytest.CaptureFixture[str]):
    with started(*words):
        eat.main()
    _, *groups, _ = capsys.readouterr().out.split("\n\n")
    titles, names = zip(*(group.split("\n", 1) for group in groups), strict=True)
    assert titles == ("Make it faster", "Research", "More")
    listed = [line.split()[0] for lines in names for line in lines.splitlines()]
    assert listed == [*eat.COMMANDS]


def test_version(capsys: pytest.CaptureFixture[str]):
    with started("--version"):
        eat.main()
    assert capsys.readouterr().out == f"eat_lightning {__version__}\n"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("trian", "error: trian is not a command: did you mean train?"),
        ("far", "error: far is not a command: eat --help lists all"),
    ],
)
def test_an_unknown_command_is_one_line(name: str, line: str):
    with started(name), pytest.raises(SystemExit) as ended:  # a message as code: status 1
        eat.main()
    assert ended.value.code == line


def test_the_package_has_one_script():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts == {"eat": f"{eat.__name__}:{eat.main.__name__}"}


def test_each_command_is_found_and_imports_nothing_heavy(tmp_path: Path):
    """Under the short name that `python -m` takes, from any folder; so `--help` is quick."""
    assert process("-c", IMPORTS, cwd=tmp_path).stdout.splitlines() == [*eat.COMMANDS]


def test_each_command_has_a_yaml_whose_examples_name_it():
    yamls = {name: ROOT / "configs" / f"{name}.yaml" for name in eat.COMMANDS if name != "new"}
    without = [name for name in yamls if f" eat {name} " not in yamls[name].read_text("utf-8")]
    assert without == []


@pytest.mark.slow
def test_python_m_goes_on():
    """Of a command in deploy/ too, whose folder has another name."""
    by_itself, by_eat = ("eat_lightning.drift",), ("eat_lightning", "drift")
    shown = [process("-m", *words, "--help").stdout for words in (by_itself, by_eat)]
    assert shown[0] == shown[1] != ""


def test_packages_with_two_names_are_empty():
    """`eat_lightning.serve` and `eat_lightning.deploy.serve` are two modules of one file."""
    for path in (ROOT / "eat_lightning" / "deploy").glob("*/__init__.py"):
        if path.parent.name not in eat.COMMANDS:
            continue
        (only,) = ast.parse(path.read_text("utf-8")).body
        assert isinstance(only, ast.Expr), path


@pytest.mark.parametrize("words", [["new", "--help"], ["measure", "--cfg", "job"]])
def test_nobody_reads_on(words: list[str]):
    """As with `| head`."""
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "eat_lightning", *words]
    with subprocess.Popen(command, cwd=ROOT, **pipes) as child:
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(timeout=60) in (0, -signal.SIGPIPE)


def test_ctrl_c_is_status_130_and_a_line(capsys: pytest.CaptureFixture[str]):
    """Also where Lightning ends the training: by sys.exit(1)."""

    def interrupted() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as ended, quiet_exit("go on so"):
        interrupted()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped: go on so\n"
    with pytest.raises(SystemExit) as ended, quiet_exit("go on so"):
        sys.exit(1)
    assert (ended.value.code, capsys.readouterr().err) == (1, "")


ASKED_TO_END = """
import os, signal, time
from eat_lightning.process import quiet_exit, raise_on_sigterm
raise_on_sigterm()
with quiet_exit("go on so"):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
"""


def test_sigterm_is_status_143_and_a_line():
    """In a process of its own: after some other tests the signal ended the tests' worker."""
    ended = subprocess.run([sys.executable, "-c", ASKED_TO_END], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (143, "stopped: go on so\n")


def test_lightning_s_exception_for_sigterm_is_status_143_too(capsys: pytest.CaptureFixture[str]):
    """Its own status would be 0."""
    with pytest.raises(SystemExit) as ended, quiet_exit("go on so"):
        raise SIGTERMException
    assert (ended.value.code, capsys.readouterr().err) == (143, "stopped: go on so\n")


def test_a_ctrl_c_that_python_ignores_comes_again():
    class Stubborn:
        def __del__(self):
            raise KeyboardInterrupt

    def interrupted() -> None:
        Stubborn()
        while True:  # what comes again does not wake a long sleep
            time.sleep(0.01)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # xdist's workers ignore it
    try:
        with pytest.raises(SystemExit) as ended, quiet_exit():
            interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130


def test_tab_completes_keys_and_choices_of_a_command():
    env = {"COMP_LINE": "eat train exit=c"}
    choices = process("-m", "eat_lightning", "-sc", "query=bash", env=env).stdout.split()
    assert {"exit=cats", "exit=confidence"} <= set(choices)
    assert all(choice.startswith("exit=") for choice in choices)


@pytest.mark.slow
def test_bash_takes_the_completion(tmp_path: Path):
    bash = shutil.which("bash") or pytest.skip("no bash here")
    script = tmp_path / "eat"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m eat_lightning "$@"\n')
    script.chmod(0o755)
    install = 'eval "$(eat -sc install=bash)"'
    tab = 'COMP_LINE="eat tr" COMP_CWORD=1; hydra_bash_completion; echo "${COMPREPLY[@]}"'
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [bash, "-c", f"{install}; {tab}; complete -p eat"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    completed, registered = done.stdout.splitlines()
    assert completed.split() == ["train", "track"]
    assert registered.endswith("-F hydra_bash_completion eat")


def test_an_unknown_flag_is_one_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="1"):
        compose_or_explain("train", ["--sweep", "seed=1"])
    assert capsys.readouterr().err.startswith("error: --sweep is not a flag")


def process(*words: str, cwd: Path = ROOT, env: dict[str, str] | None = None):
    """Run Python on this repository's package, wherever it starts."""
    everywhere = os.environ | {"PYTHONPATH": str(ROOT)} | (env or {})
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=cwd, env=everywhere, capture_output=True, text=True, check=True
    )
