"""A claim by itself, in the terminal: its tables and its answer.

    python -m experiments exits [study=outputs/frontier]               # in a clone
    python -m eat_lightning.experiments exits study=[outputs/a,outputs/b]  # from the wheel

Without study= from the rows that were kept in results/ beside it, or else those of the frontier.
Only a clone has kept rows.
"""

import sys

from eat_lightning.errors import ConfigError, reported
from eat_lightning.report.__main__ import CLAIMS_DIR, claim_of, found_claims, print_all
from eat_lightning.report.study import open_study
from eat_lightning.user_modules import warn_of_absent

KEYS = ("study", "against")


def main(name: str = "", *arguments: str) -> None:
    warn_of_absent()
    known = found_claims()
    if name not in known:
        raise ConfigError(f"a claim must be one of {', '.join(known)}, got {name!r}")
    given = [(key, value) for key, _, value in (a.partition("=") for a in arguments)]
    if unknown := [a for a in arguments if a.partition("=")[0] not in KEYS]:
        raise ConfigError(f"only study=<folder> and against=<method> are known, got {unknown[0]}")
    listed = [value.strip("[]").split(",") for key, value in given if key == "study"]
    paths = [path.strip() for paths in listed for path in paths]
    against = [value for key, value in given if key == "against"]
    places = paths or kept_rows(name)
    if not places:
        raise ConfigError("study=<folder> must be given: rows are kept in a clone alone")
    study = open_study(places, against=against[-1] if against else "")
    claim = claim_of(known[name])(study)
    for table in claim.tables:
        table.show()
    print("\n".join([*claim.answer, *(f"({note})" for note in claim.notes)]))
    print_all("warning: ", study.warnings)


def kept_rows(name: str) -> list[str]:
    """Return the kept rows beside a claim, or else the frontier's."""
    kept = sorted((CLAIMS_DIR / name / "results").glob("**/rows.jsonl"))
    kept = kept or sorted((CLAIMS_DIR / "frontier" / "results").glob("**/rows.jsonl"))
    return list(map(str, kept))


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
