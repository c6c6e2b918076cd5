"""Test whether two rerankers return the same top candidates of each list.

Shapes: Q lists.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from eat_lightning.answer_kind import MULTI, SCORE
from eat_lightning.data.query_lists import QueryList, read_query_lists
from eat_lightning.data.unlabelled import Texts
from eat_lightning.deploy.adapt.lists import QueryLists
from eat_lightning.deploy.verify.answers import Answer, Answers
from eat_lightning.deploy.verify.builds import open_source
from eat_lightning.deploy.verify.compare import Verification, asked
from eat_lightning.deploy.verify.plan import VerifySettings
from eat_lightning.errors import ConfigError
from eat_lightning.record.claim import Claim, MeanLoss


def verified_lists(plan: VerifySettings) -> Verification:
    """Compare the top candidates of two rerankers. Raises ConfigError, in one line, where they
    cannot be compared.
    """
    found = QueryLists.of(read_query_lists(str(plan.queries)), plan.keep)
    queries = Texts([(query,) for query in found.queries], ["query"], found.line)
    queries = queries.without_near_doubles()
    if not len(queries):
        raise ConfigError(f"queries: there are none ({queries.line})")
    candidates = dict(zip(found.queries, found.candidates, strict=True))
    lists = [QueryList(query, [*dict.fromkeys(candidates[query])]) for (query,) in queries.rows]
    old, new = (best_of(key, plan, lists) for key in ("old", "new"))
    pairs = zip(old.found, new.found, strict=True)
    lost_Q = np.array([len({*a.labels} - {*b.labels}) / plan.keep for a, b in pairs])
    claim = Claim("lost_candidates", round(1 - plan.agree, 12), plan.confidence)
    return Verification(
        old=plan.old.title,
        new=plan.new.title,
        texts=queries,
        tallies=[MeanLoss(claim, lost_Q)],
        parts={},
        classes=Counter(),
        answers={"old": old, "new": new},
        changed_N=lost_Q > 0,
        what=f"of the best {plan.keep} are lost",
    )


def best_of(key: str, plan: VerifySettings, lists: list[QueryList]) -> Answers:
    """Return one model's top candidates of each list, as sets of labels."""
    batches = [[(each.query, text) for text in each.candidates] for each in lists]
    every = Texts([row for batch in batches for row in batch], ["query", "candidate"], "")
    source = open_source(key, plan, every)
    rows = asked(source, batches, key, plan)  # a list at once, since a reranker judges it whole
    scores = Answers.read(source.where, [rows[row] for row in every.rows], None, source.kind)
    if scores.problem_type != SCORE or not scores.answered_N.all():
        raise ConfigError(f"{source.where}: queries= needs a score of every candidate")
    score_of = dict(zip(every.rows, scores.found, strict=True))
    found, best_rows = [], []
    for batch in batches:
        ranked = sorted(batch, key=lambda row: (-score_of[row].depth, -(score_of[row].value or 0)))
        best = tuple(text for _, text in ranked[: plan.keep])
        found.append(Answer(best))
        best_rows.append({"answers": [*best]})
    return replace(scores, found=found, problem_type=MULTI, kind=None, rows=best_rows)
