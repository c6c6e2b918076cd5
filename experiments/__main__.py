"""Make a study's page again from its kept rows.

python -m experiments            # the studies, each with its question
python -m experiments methods    # prints its tables; writes them into its page
"""

import sys

from eat_lightning.errors import ConfigError, reported
from experiments.study import studies


def main(name: str = "", *more: str) -> None:
    known = {study.name: study for study in studies()}
    if not name:
        print("\n".join(f"{study.name:14} {study.question}" for study in known.values()))
        return
    if name not in known or more:
        asked = " ".join((name, *more))
        raise ConfigError(f"a study must be one of {', '.join(known)}, got {asked!r}")
    study = known[name]
    study.write()
    for table in study.claim.tables:
        table.show()
    print("\n".join([*study.claim.answer, *(f"({note})" for note in study.claim.notes)]))


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
