"""Make a study's page again from its kept rows, or its rows by its commands.

python -m experiments                      # the studies, each with its question
python -m experiments methods              # prints its tables; writes them into its page
python -m experiments run paper dry=true data=... backbones=...   # the commands that make its rows
python -m experiments run paper data=... backbones=...            # runs them
"""

import sys

from eat_lightning.errors import ConfigError, reported
from experiments import recipe
from experiments.study import StudyFolder, studies


def main(name: str = "", *more: str) -> None:
    if not name:
        print("\n".join(f"{study.name:14} {study.question}" for study in studies()))
    elif name == "run":
        recipe.run(named(more[0] if more else ""), [*more[1:]])
    elif more:
        raise ConfigError(f"{name} takes no more words, got {' '.join(more)!r}")
    else:
        show(named(name))


def named(name: str) -> StudyFolder:
    """The study of that name; ConfigError names those that there are."""
    known = {study.name: study for study in studies()}
    if name not in known:
        raise ConfigError(f"a study must be one of {', '.join(known)}, got {name!r}")
    return known[name]


def show(study: StudyFolder) -> None:
    """Write a study's page and figures; print its tables, answer and notes."""
    study.write()
    for table in study.claim.tables:
        table.show()
    print("\n".join([*study.claim.answer, *(f"({note})" for note in study.claim.notes)]))


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
