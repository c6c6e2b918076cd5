"""`eat <command>`: each command of the package; the same as `python -m eat_lightning.<command>`.

Nothing heavy is imported here, so that a command starts as fast as by itself.
"""

from __future__ import annotations

import os
import runpy
import sys

import eat_lightning
from eat_lightning.process import quiet_exit
from eat_lightning.validation import did_you_mean

TRY = {
    "train": "fine-tune a model, or sweep over many (-m)",
    "measure": "accuracy, depth, retention, FLOPs and time of finished runs",
    "report": "tables, figures and a page of a study",
    "new": "files to start a method from: code, config, test",
    "track": "a W&B workspace for a project's runs",
}
DEPLOY = {
    "adapt": "a tuned classifier made faster, certified on texts without labels",
    "verify": "do two builds of one classifier answer alike? With an exact bound",
    "predict": "answers to lines of text, as JSON lines",
    "certify": "exits whose risk stays below a level, with a stated confidence",
    "export": "ONNX graphs that need no torch, or a narrower encoder",
    "serve": "answers over HTTP, with metrics and a live page",
    "score": "a corpus of files, on all cores",
    "drift": "an alarm once a stream has left what a run was calibrated on",
}
COMMANDS = TRY | DEPLOY
USAGE = """\
eat <command> [key=value ...]

Try
{try_lines}

Deploy
{deploy_lines}

eat <command> --help shows examples. Tab completion: eval "$(eat -sc install=bash)"\
"""


def main() -> None:
    """Run the command that the first argument names; an unknown one is one line and status 1."""
    with quiet_exit():
        match sys.argv[1:] or ["--help"]:
            case [name, *arguments] if name in COMMANDS:
                run(name, *arguments)
            case ["--help" | "-h", *_]:
                print(USAGE.format(try_lines=listed(TRY), deploy_lines=listed(DEPLOY)))
            case ["--version", *_]:
                print(f"eat_lightning {eat_lightning.__version__}")
            case ["--shell-completion" | "-sc", request]:
                complete(request)
            case [name, *_]:
                near = did_you_mean(name, COMMANDS) or ": eat --help lists all"
                sys.exit(f"error: {name} is not a command{near}")


def run(name: str, *arguments: str) -> None:
    """Become `python -m eat_lightning.<name>`, also for libraries that start processes like it."""
    sys.argv[1:] = arguments
    runpy.run_module(f"eat_lightning.{name}", run_name="__main__", alter_sys=True)


def listed(commands: dict[str, str]) -> str:
    return "\n".join(f"  {name:8} {line}" for name, line in commands.items())


def complete(request: str) -> None:
    """Answer a shell that completes a line (query=bash), or installs completion (install=bash).

    Hydra completes keys and choices. It takes the first word of a line for the program, and so gets
    the line from the command on.
    """
    if not request.startswith("query"):
        import hydra

        sys.argv = ["eat", "-sc", request]
        hydra.main(config_path=None, version_base="1.3")(print)()
        return
    _, _, line = os.environ["COMP_LINE"].partition(" ")
    name, space, _ = line.lstrip().partition(" ")
    if not space:
        print(*COMMANDS, sep="\n")  # the shell keeps those that begin with what is typed
    elif name in COMMANDS and name != "new":  # which has no keys
        os.environ["COMP_LINE"] = line
        run(name, "-sc", request)


if __name__ == "__main__":
    main()
