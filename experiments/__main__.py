"""A claim by itself, in the terminal: its tables and its answer.

    python -m experiments exits [study=outputs/frontier]

Without study= from the rows that were kept in results/ beside it, or else those of the frontier.
"""

import sys

from eat_lightning.errors import ConfigError, told
from eat_lightning.own import own_faults
from eat_lightning.report.__main__ import CLAIMS_DIR, FIRST, claim_of, found_claims, print_all
from eat_lightning.report.study import open_study
from eat_lightning.report.tables import show


def main(name: str = "", *arguments: str) -> None:
    if faults := own_faults():
        raise ConfigError.of(faults)
    known, given = found_claims(), [a.removeprefix("study=") for a in arguments]
    if name not in known:
        raise ConfigError(f"a claim must be one of {', '.join(known)}, got {name!r}")
    if unknown := [a for a in arguments if not a.startswith("study=")]:
        raise ConfigError(f"only study=<folder> is known here, got {unknown[0]}")
    kept = sorted((CLAIMS_DIR / name / "results").glob("**/rows.jsonl"))
    kept = kept or sorted((CLAIMS_DIR / FIRST / "results").glob("**/rows.jsonl"))
    study = open_study(given or list(map(str, kept)))
    claim = claim_of(known[name])(study)
    for table in claim.tables:
        show(table)
    print("\n".join([*claim.answer, *(f"({note})" for note in claim.notes)]))
    print_all("warning: ", study.warnings)


if __name__ == "__main__":
    with told():
        main(*sys.argv[1:])
