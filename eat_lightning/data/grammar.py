"""A grammar that generates unlimited labelled English: sentiment, paraphrases, entailment.

Each example is a pure function of (seed, split, number). It is correct and balanced by
construction, and has a `difficulty` from 0 to 4: the number of steps (negations, contrasts,
rewordings) between the words and the label. No first text of one split occurs in another.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations

from eat_lightning.data.task import Task

# Sixteenths of all first texts that a split may use.
BUCKETS = {
    "train": range(12),
    "select": (12,),
    "temperature": (13,),
    "certificate": (14,),
    "validation": (15,),
}
DIFFICULTIES = (0,) * 7 + (1,) * 6 + (2,) * 4 + (3,) * 2 + (4,)
LEVELS = 6  # of a graded similarity: so many minus one parts of two events may agree


def listed(text: str) -> list[str]:
    return text.split()


ASPECTS = listed(
    "plot story acting cast music script ending dialogue pace humor scenery costume hero villain "
    "sound editing director camera voice title"
)
WORKS = listed("film movie show series play")
ADJECTIVES = listed(
    "dull boring awful terrible clumsy weak bland tedious silly ugly shallow tired "
    "great wonderful brilliant charming moving funny clever fresh lovely superb warm gripping"
)
INTENSIFIERS = ("", "really", "truly", "very", "quite", "so")
FLIPS = ("nobody believes that", "i doubt that", "it is false that")
KEEPS = ("everybody believes that", "i know that", "it is true that")

ANIMALS = listed("dog cat horse fox bear wolf rabbit monkey")
PERSONS = listed("nurse farmer teacher lawyer doctor painter singer pilot")
VERBS = (  # base, past, and a synonym's
    ("chase", "chased", "pursue", "pursued"),
    ("help", "helped", "assist", "assisted"),
    ("watch", "watched", "observe", "observed"),
    ("push", "pushed", "shove", "shoved"),
    ("greet", "greeted", "welcome", "welcomed"),
    ("hug", "hugged", "embrace", "embraced"),
    ("stop", "stopped", "halt", "halted"),
    ("answer", "answered", "address", "addressed"),
)
PLACES = [f"in the {x}" for x in listed("park garden kitchen street forest market school barn")]
TIMES = ("yesterday", "today", "last week", "on monday", "at night", "at noon")
OTHER_WORDS = (
    "the of this was not but although and , ? did an animal a person no by any "
    "can you tell me whether"
)
LISTS = (ASPECTS, WORKS, ADJECTIVES, INTENSIFIERS, FLIPS, KEEPS, ANIMALS, PERSONS, *VERBS, PLACES)
WORDS = frozenset(" ".join(chain(*LISTS, TIMES, [OTHER_WORDS])).split())


@dataclass(frozen=True)
class Example:
    texts: tuple[str, ...]
    label: float | list[int]
    difficulty: int


Rng = random.Random
Maker = Callable[[Rng, int, int], tuple[str, ...]]  # random numbers, label, difficulty -> texts


def make(task: Task, seed: int, split: str, number: int) -> Example:
    maker, num = maker_of(task)
    level, difficulty = number % num, DIFFICULTIES[number // num % len(DIFFICULTIES)]
    rng = random.Random(f"{seed} {split} {number}")
    texts = maker(rng, level, difficulty)
    while zlib.crc32(texts[0].encode()) % 16 not in BUCKETS[split]:
        texts = maker(rng, level, difficulty)
    low, high = task.label_range
    if task.regression:
        return Example(texts, low + (high - low) * level / (num - 1), difficulty)
    label = row_of(label_sets(task)[level], task.num_labels) if several(task) else float(level)
    return Example(texts, label, difficulty)


def maker_of(task: Task) -> tuple[Maker, int]:
    """Return the function that makes texts, and its number of labels (or levels of a regression, or
    label sets).
    """
    if several(task):
        sets = label_sets(task)
        return partial(moods, sets=sets, num=task.num_labels), len(sets)
    num = LEVELS if task.regression else task.num_labels
    asks = task.columns[0].startswith("question") and "sentence" not in task.columns
    if len(task.columns) == 1:
        return partial(feeling, num=num), num
    if meanings := inferences(task):
        return partial(inference, meanings=meanings), num
    if num == 2:
        same = 0 if task.labels[1].startswith("not") else 1
        return partial(paraphrase, same=same, asks=asks), num
    return partial(graded, num=num, asks=asks), num


def faults(task: Task) -> list[str]:
    pair = len(task.columns) == 2
    if pair and several(task):
        return [f"data=toy makes sets of labels of one text, task {task.name} has two"]
    most = LEVELS if pair else len(ADJECTIVES)
    if task.num_labels <= most or (pair and inferences(task)):
        return []
    return [f"data=toy makes up to {most} labels of this shape, task {task.name} has more"]


def feeling(rng: Rng, label: int, difficulty: int, num: int) -> tuple[str]:
    """Generate a text with an adjective of the label's group, shifted by one group per negation
    (with two groups: inverted). Asides do not count, negated or not. There are at most two
    negations, because a small encoder cannot learn a longer parity within a minute.
    """
    flips = rng.randint(max(0, difficulty - 3), min(2, difficulty))
    asides = " and ".join(
        clause(rng, rng.randrange(num), num, rng.random() < 0.4) for _ in range(difficulty - flips)
    )
    inner = flips > 0 and rng.random() < 0.5
    text = clause(rng, (label - flips) % num, num, inner)
    frames: list[str] = rng.sample(FLIPS, flips - inner)
    if rng.random() < 0.25:
        frames.append(rng.choice(KEEPS))
    for frame in frames:
        text = f"{frame} {text}"
    if asides:
        text = rng.choice((f"{asides} but {text}", f"although {asides} , {text}"))
    return (text,)


def several(task: Task) -> bool:
    """True if an example has a set of labels."""
    return bool(task.kind.label_shape)


def label_sets(task: Task) -> list[tuple[int, ...]]:
    """Return the empty set, each single label, and each pair of labels."""
    numbers = range(task.num_labels)
    return [found for size in (0, 1, 2) for found in combinations(numbers, size)]


def row_of(labels: Sequence[int], num: int) -> list[int]:
    """Return a set of labels as a row of 0 and 1."""
    return [int(number in labels) for number in range(num)]


def moods(
    rng: Rng, level: int, difficulty: int, sets: Sequence[tuple[int, ...]], num: int
) -> tuple[str]:
    """Generate a clause with an adjective of each label's group, and up to two negated adjectives
    of other groups. Their number grows with difficulty, and is at least one without labels.
    """
    others = [number for number in range(num) if number not in sets[level]]
    num_denied = min(len(others), max(difficulty // 2, not sets[level]))
    denied = rng.sample(others, num_denied)
    clauses = [clause(rng, number, num, False) for number in sets[level]]
    clauses += [clause(rng, number, num, True) for number in denied]
    rng.shuffle(clauses)
    return (" and ".join(clauses),)


def clause(rng: Rng, group: int, num: int, negated: bool) -> str:
    adjectives = ADJECTIVES[group * len(ADJECTIVES) // num : (group + 1) * len(ADJECTIVES) // num]
    subject = f"the {rng.choice(ASPECTS)}"
    if rng.random() < 0.5:
        subject += f" of this {rng.choice(WORKS)}"
    intensifier = rng.choice(INTENSIFIERS[:3] if negated else INTENSIFIERS)
    return words(subject, "was", "not" if negated else "", intensifier, rng.choice(adjectives))


@dataclass(frozen=True)
class Event:
    agent: str
    verb: int
    patient: str
    place: str = ""
    time: str = ""


def event(rng: Rng, place: bool = False, time: bool = False) -> Event:
    agent, patient = rng.sample(ANIMALS + PERSONS, 2)
    where, when = rng.choice(PLACES), rng.choice(TIMES)
    return Event(
        agent, rng.randrange(len(VERBS)), patient, where if place else "", when if time else ""
    )


def say(
    it: Event,
    negated: bool = False,
    passive: bool = False,
    synonym: bool = False,
    general: bool = False,
    fronted: bool = False,
    asks: bool = False,
) -> str:
    """Write an event as a sentence.

    Args:
        general: call the agent an animal or a person; a negation then covers all of them.
    """
    base, past = VERBS[it.verb][2:] if synonym else VERBS[it.verb][:2]
    kind = "animal" if it.agent in ANIMALS else "person"
    agent = f"{'an' if kind == 'animal' else 'a'} {kind}" if general else f"the {it.agent}"
    patient, no = f"the {it.patient}", "not" if negated else ""
    if passive:
        agent = f"any {kind}" if general and negated else agent
        order = ["was", patient] if asks else [patient, "was"]
        core = words(*order, no, past, "by", agent)
    elif asks:
        core = words("did", agent, no, base, patient)
    elif general and negated:
        core = words("no", kind, past, patient)
    else:
        core = words(agent, *(["did", no, base] if negated else [past]), patient)
    around = [it.place, core] if fronted else [core, it.place]
    return words(*around, it.time, "?" if asks else "")


def inferences(task: Task) -> list[tuple[str, ...]]:
    """Return the possible meanings of each label, by its name; an empty list where no name contains
    "entail".
    """
    if not any("entail" in name for name in task.labels):
        return []
    named = {
        "entailment": ("entailment",),
        "neutral": ("neutral",),
        "contradiction": ("contradiction",),
        "not_entailment": ("neutral", "contradiction"),
    }
    return [named[name] for name in task.labels] if set(task.labels) <= set(named) else []


def inference(
    rng: Rng, label: int, difficulty: int, meanings: list[tuple[str, ...]]
) -> tuple[str, str]:
    """Generate a pair for entailment.

    A strong statement (names, and perhaps a place) entails the weak one (kinds, no place), and the
    negated weak one entails the negated strong one. In the other direction, or with swapped roles,
    nothing follows. Rewordings preserve the relation.
    """
    meaning = rng.choice(meanings[label])
    easy, hard = ((0, 0), (1, 0), (1, 1), (1, 2), (2, 2))[difficulty]
    steps = rng.sample(("passive", "synonym"), easy)
    steps += rng.sample(("negated", "general", "place"), hard)
    negated, general = "negated" in steps, "general" in steps
    first = second = event(rng, place="place" in steps)
    forms = [say, lambda it, **how: say(replace(it, place=""), general=general, **how)]
    upside_down = {"general", "place"} & set(steps) and rng.random() < 0.5
    if meaning == "neutral" and not upside_down:
        parts = ["verb", "patient"] if general else ["agent", "verb", "patient"]
        second = altered(rng, first, difficulty, parts)
    if negated != (meaning == "neutral" and bool(upside_down)):
        forms.reverse()
    agrees = rng.random() < 0.5 if meaning == "neutral" else meaning == "entailment"
    rewording = {step: step in steps for step in ("passive", "synonym")}
    premise = forms[0](first, negated=negated)
    return premise, forms[1](second, negated=negated == agrees, **rewording)


def paraphrase(rng: Rng, label: int, difficulty: int, same: int, asks: bool) -> tuple[str, str]:
    """Generate a pair of the same meaning with rewordings, or of different meaning, where one part
    of the event differs or two have swapped roles.
    """
    steps = rng.sample(("passive", "synonym", "fronted", "framed"), difficulty)
    first = event(rng, place=True)
    parts = ["agent", "verb", "patient", "place"]
    second = first if label == same else altered(rng, first, difficulty, parts)
    forms = {step: step in steps for step in ("passive", "synonym")}
    fronted = "fronted" in steps and (not asks or "framed" in steps)
    text = say(second, **forms, fronted=fronted, asks=asks and "framed" not in steps)
    if "fronted" in steps and not fronted:
        text = words(second.place, ",", say(replace(second, place=""), **forms, asks=True))
    if "framed" in steps:
        text = f"can you tell me whether {text} ?" if asks else f"it is true that {text}"
    return say(first, asks=asks), text


def altered(rng: Rng, it: Event, difficulty: int, parts: list[str]) -> Event:
    """Change an event. Fewer parts differ at higher difficulty; at the highest only the
    roles do.
    """
    if difficulty >= 3 and rng.random() < 0.5:
        return replace(it, agent=it.patient, patient=it.agent)
    return changed(rng, it, rng.sample(parts, max(1, len(parts) - difficulty)))


def changed(rng: Rng, it: Event, parts: list[str]) -> Event:
    """Replace exactly these parts of an event by other values."""
    left = [x for x in ANIMALS + PERSONS if x not in (it.agent, it.patient)]
    agent, patient = rng.sample(left, 2)
    other = Event(
        agent,
        (it.verb + rng.randrange(1, len(VERBS))) % len(VERBS),
        patient,
        rng.choice([place for place in PLACES if place != it.place]),
        rng.choice([time for time in TIMES if time != it.time]),
    )
    return replace(it, **{part: getattr(other, part) for part in parts})


def graded(rng: Rng, level: int, difficulty: int, num: int, asks: bool) -> tuple[str, str]:
    """Generate two events that agree in `level` of `num - 1` parts (scaled to five)."""
    parts = ["agent", "verb", "patient", "place", "time"]
    first = event(rng, place=True, time=True)
    agree = round(level * len(parts) / (num - 1))
    second = changed(rng, first, rng.sample(parts, len(parts) - agree))
    steps = rng.sample(("passive", "synonym", "fronted", "framed"), difficulty)
    forms = {step: step in steps for step in ("passive", "synonym", "fronted")}
    text = say(second, **forms)
    return say(first, asks=asks), f"it is true that {text}" if "framed" in steps else text


def words(*parts: str) -> str:
    return " ".join(part for part in parts if part)
