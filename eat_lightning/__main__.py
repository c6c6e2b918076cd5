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

GROUPS = {
    "Make it faster": {
        "adapt": "make a fine-tuned classifier faster, and certify that its answers stay",
        "rerank": "make a cross-encoder faster, and certify that its best candidates stay",
        "verify": "test whether two builds of one classifier answer alike",
        "predict": "answer lines of text with JSON lines",
        "serve": "answer over HTTP, with metrics and a live page",
    },
    "Research": {
        "train": "train an adaptive encoder, or a sweep of them (-m)",
        "measure": "measure accuracy, depth, retention, FLOPs and latency of runs",
        "report": "turn measured runs into tables, figures and a page",
        "new": "write the files that a new method starts from",
        "track": "save a W&B workspace for a project's runs",
    },
    "More": {
        "certify": "choose early exits of a run whose risk is bounded",
        "export": "write ONNX graphs that need no torch, or a smaller encoder",
        "convert": "rewrite a folder of release 0.3 in the layout of this one",
        "score": "score a corpus of files on all cores",
        "drift": "watch whether a stream still resembles the calibration data",
    },
}
COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}
USAGE = """\
Usage: eat <command> [key=value ...]

{groups}

eat <command> --help shows its examples and settings; key=value and --key value are the same.
Tab completion: eval "$(eat -sc install=bash)"\
"""


def main() -> None:
    """Run the command that the first argument names; an unknown one is one line and status 1."""
    with quiet_exit():
        match sys.argv[1:] or ["--help"]:
            case [name, *arguments] if name in COMMANDS:
                run(name, *arguments)
            case ["help", name, *_] if name in COMMANDS:
                run(name, "--help")
            case ["--help" | "-h" | "help", *_]:
                print(USAGE.format(groups="\n\n".join(map(listed, GROUPS))))
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


def listed(group: str) -> str:
    lines = [f"  {name:8} {line}" for name, line in GROUPS[group].items()]
    return "\n".join([group, *lines])


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
