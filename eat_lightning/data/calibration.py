"""The calibration split: parts of train that are held out, by group, before any fine-tuning.

The dev set is for reporting only, and a random split would leak: of 5,000 random SST-2 training
phrases, 89 % are contained in a remaining one. Neither labels nor the dev set influence the split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np

from eat_lightning.data.task import Task
from eat_lightning.errors import ConfigError

# A quarter selects the checkpoint, and with a second quarter fits temperatures and budgets; a
# certificate's bound narrows with the number of examples, so it gets half, which nothing else sees.
PARTS = {"select": 0.25, "temperature": 0.25, "certificate": 0.5}
FITTED_ON = ("select", "temperature")

MARKS = re.compile(r"^(?:(?:re|fw|fwd|aw|sv)(?:\[\d+\])?\s*:\s*|\[[^\]]*\]\s*)+")  # Re: [list] Fwd:


def cut(
    task: Task,
    texts: list[list[str]],
    size: int | None = None,
    seed: int = 0,
    num_eligible: int | None = None,
) -> dict[str, np.ndarray]:
    """Return the sorted rows of `train` and of each held-out part.

    Rows that belong to a held-out group, but may not be held out themselves, are dropped.

    Args:
        size: number of examples; None: 1,000 root sentences (at most a sixth of them) for
            `root_phrases`, else a tenth of the examples, at most 3,000.
        num_eligible: rows from this number on are never held out.
    """
    num_eligible = len(texts[0]) if num_eligible is None else num_eligible
    if task.groups == "root_phrases":
        units, train = cut_roots(texts[0], size, seed, num_eligible)
    else:
        units, train = cut_groups(group_ids(task, texts), size, seed, num_eligible)
    parts = {"train": train, **divide(units)}
    empty = [name for name, rows in parts.items() if not len(rows)]
    if empty:
        blank = num_blank(texts)
        why = f": {blank} of {len(texts[0])} rows have no text" if blank else ""
        raise ConfigError(
            f"data.calibration: cutting {sum(map(len, units))} of {num_eligible} examples of "
            f"{task.name} leaves {empty[0]} empty{why}"
        )
    return parts


def num_blank(texts: list[list[str]]) -> int:
    """Number of rows in which some text consists of whitespace only."""
    return sum(not all(map(str.strip, row)) for row in zip(*texts, strict=True))


def divide(units: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Assign whole groups to parts, in order, by the share of examples before each group."""
    sizes = np.array([len(rows) for rows in units], dtype=np.int64)
    middle = (np.cumsum(sizes) - sizes / 2) / max(sizes.sum(), 1)
    part = np.searchsorted(np.cumsum([*PARTS.values()])[:-1], middle, side="right")
    return {
        name: np.sort(np.concatenate([np.empty(0, np.int64), *(units[i] for i in chosen)]))
        for k, name in enumerate(PARTS)
        for chosen in [np.flatnonzero(part == k)]
    }


def cut_groups(
    group: np.ndarray, size: int | None, seed: int, num_eligible: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Draw random groups of up to `size` examples. Returns the rows of each, and the train rows."""
    size = min(3000, max(num_eligible // 10, 8)) if size is None else size
    members = np.bincount(group[:num_eligible], minlength=group.max() + 1)
    order = np.random.default_rng(seed).permutation(len(members))
    # The largest component of QQP's questions would fill a fifth of the cut with one topic.
    small = order[(members[order] > 0) & (members[order] <= max(8, size // 50))]
    chosen = small[np.cumsum(members[small]) <= size]
    rows = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[rows], [chosen, chosen + 1])
    units = [np.sort(rows[a:b]) for a, b in starts.T]
    train = np.flatnonzero(~np.isin(group, chosen))
    return [each[each < num_eligible] for each in units], train


def group_ids(task: Task, texts: list[list[str]]) -> np.ndarray:
    """Return a group number for each row, in order of first appearance."""
    columns = [[plain(text) for text in column] for column in texts]
    if task.groups == "question_graph":
        return linked(columns[0], columns[1])
    kind, _, name = task.groups.partition(":")
    if kind == "column":
        return numbered(columns[task.columns.index(name)])
    if kind == "thread":
        return numbered(threads(columns, task.columns.index(name)))
    return numbered(zip(*columns, strict=True))


def numbered(keys: Iterable[object]) -> np.ndarray:
    ids: dict[object, int] = {}
    return np.array([ids.setdefault(key, len(ids)) for key in keys], dtype=np.int64)


def threads(columns: list[list[str]], subject: int) -> Iterator[object]:
    """Yield for each mail a value shared by its thread or campaign: the subject line without reply
    marks and list tags. A mail without a subject is grouped only with identical mails.
    """
    for row in zip(*columns, strict=True):
        yield MARKS.sub("", row[subject]) or row


def linked(first: list[str], second: list[str]) -> np.ndarray:
    """Group rows that are connected by a chain of shared texts."""
    ids = numbered([*first, *second])
    a, b = ids[: len(first)], ids[len(first) :]
    return numbered(components(a, b, ids.max() + 1)[a].tolist())


def components(first: np.ndarray, second: np.ndarray, num: int) -> np.ndarray:
    """Return the number of the connected component of each of `num` nodes.

    Args:
        first, second: the two nodes of each edge.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(num, num))
    return connected_components(graph, directed=False)[1]


def cut_roots(
    phrases: list[str], size: int | None, seed: int, num_eligible: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Hold out root sentences, and drop every phrase contained in one of them."""
    keys = [plain(phrase) for phrase in phrases]
    row_of = {key: row for row, key in reversed([*enumerate(keys)])}  # the first of equal ones
    roots = np.array(sorted(row_of[root] for root in find_roots(row_of)))
    roots = roots[roots < num_eligible]
    size = min(1000, max(len(roots) // 6, 8)) if size is None else size
    units = np.random.default_rng(seed).permutation(roots)[:size]
    gone = {keys[row] for row in units}
    gone.update(piece for row in units for piece in pieces(keys[row]) if piece in row_of)
    train = np.array([row for row, key in enumerate(keys) if key not in gone], dtype=np.int64)
    return [units[i : i + 1] for i in range(len(units))], train


def find_roots(phrases: Iterable[str]) -> list[str]:
    """Return phrases that are contained in no longer one. A part of a phrase is also a part of its
    root, so only roots need to be split: 0.7 s for SST-2.
    """
    known = set(phrases)
    inside: set[str] = set()
    roots = []
    for phrase in sorted(known, key=lambda phrase: (-phrase.count(" "), phrase)):
        if phrase not in inside:
            roots.append(phrase)
            inside.update(piece for piece in pieces(phrase) if piece in known)
    return roots


def pieces(phrase: str) -> Iterator[str]:
    """Yield every contiguous sequence of words except the whole phrase."""
    words = phrase.split(" ")
    for first, last in combinations(range(len(words) + 1), 2):
        if last - first < len(words):
            yield " ".join(words[first:last])


def plain(text: str) -> str:
    return " ".join(text.lower().split())
