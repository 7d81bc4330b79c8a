"""Labelled sentences from small grammars, which test word order, long-distance dependence and intents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnnjax.data import Labelled

GOOD = ("good", "great", "superb", "fine", "lovely", "warm", "clever", "fresh", "funny", "brilliant")
BAD = ("bad", "awful", "dull", "poor", "dreadful", "cold", "clumsy", "stale", "weak", "boring")
REMARKS = ("", "they said", "as we all agreed", "said everybody who was there on the first night")


Drawn = list[tuple[str, int]]


def in_parts(
    draw: Callable[[np.random.Generator, str], Drawn], sentences: int, seed: int, classes: Sequence[str]
) -> dict[str, Labelled]:
    """Draws three parts from (generator, part) -> sentences with classes; the test has no training sentence."""
    rng, seen, parts = np.random.default_rng(seed), set[str](), dict[str, Labelled]()
    for part, size in (("test", 500), ("valid", 200), ("train", sentences)):
        found: Drawn = []
        while len(found) < size:
            some = draw(rng, part)
            if some[0][0] not in seen:
                found += some
                seen |= {said for said, _ in some} if part != "train" else set()
        parts[part] = Labelled([said for said, _ in found], np.array([y for _, y in found], np.int32), tuple(classes))
    return parts


def ordered(sentences: int, seed: int) -> dict[str, Labelled]:
    """Draws pairs of sentences with the same words, one of each class; some test sentences are longer than the rest.

    A sentence is praise if its last clause is, whatever comes before it: `dull , not bad , great they said` and `dull ,
    great , not bad` are praise, `dull , not great , bad they said` and `dull , bad , not great` are not.
    """

    def both(rng: np.random.Generator, part: str) -> Drawn:
        praise, blame = draw_pair(rng, int(rng.choice((2, 3, 4, 5) if part == "test" else (2, 3))) - 2)
        return [(praise, 1), (blame, 0)]

    return in_parts(both, sentences, seed, ("blames", "praises"))


def draw_pair(rng: np.random.Generator, before: int) -> tuple[str, str]:
    """Draws two sentences of the same words that end in two clauses, maybe with a remark; the first one is praise."""
    good, bad = rng.choice(GOOD), rng.choice(BAD)
    first = [("not " if rng.integers(2) else "") + str(rng.choice(GOOD + BAD)) for _ in range(before)]
    ends = [(f"not {bad}", good), (f"not {good}", bad)]
    if rng.integers(2):
        ends = [(last, other) for other, last in ends]
    remark = str(rng.choice(REMARKS))
    praise, blame = (f"{' , '.join([*first, *two])} {remark}".strip() for two in ends)
    return praise, blame


NAMES = ("x", "jones", "smith", "ito", "okafor", "silva", "novak", "haddad")
PAST = ("is an ex-employee of company y", "was once the head of company y", "had a post at company y")
OWN = ("is running a business of his own", "is the owner of a small firm", "has a shop of his own")
ASIDES = (
    "as everybody here knows",
    "for all that is said of him",
    "if the papers are to be believed",
    "as far as anybody can tell",
    "whatever his old friends may think",
    "to the surprise of the whole town",
)


def clauses(sentences: int, seed: int) -> dict[str, Labelled]:
    """Draws pairs of sentences with the same words, which swap the relative clause and the main clause.

    They read `mr x who , ASIDE , is an ex-employee of company y , ASIDE , is running a business of his own , ASIDE`, or
    with the clauses swapped. One aside of at least five words is used throughout, so no five consecutive words tell the
    two apart.
    """

    def both(rng: np.random.Generator, part: str) -> Drawn:
        man, past, own = (str(rng.choice(words)) for words in (NAMES, PAST, OWN))
        aside = f", {rng.choice(ASIDES)} ,"
        said = [f"mr {man} who {aside} {a} {aside} {b} {aside}" for a, b in ((past, own), (own, past))]
        return [(said[0], 1), (said[1], 0)]

    return in_parts(both, sentences, seed, ("left company y", "works for himself"))


CITIES = ("oslo", "lima", "cairo", "kyoto", "quito", "perth", "rome")
HOURS = ("six", "seven", "half past eight", "noon", "midnight")
WHOM = ("my mother", "the doctor", "anna", "the office", "tom")
WORKS = ("some bach", "the news", "a slow song", "my list", "the radio")
INTENTS = {
    "time": ("what time is it in {city}", "tell me the time in {city}", "how late is it in {city} at {hour} here"),
    "weather": (
        "what is the weather like in {city} at {hour}",
        "will it rain in {city} at {hour}",
        "do i need a coat in {city} at this time",
    ),
    "alarm": ("wake me at {hour}", "set the alarm for {hour}", "do not let me sleep longer than {hour}"),
    "call": ("call {whom} at {hour}", "i want to talk to {whom}", "tell {whom} that i am in {city}"),
    "play": ("play {work}", "i want to hear {work} at {hour}", "put on {work} for {whom}"),
    "travel": ("how long does it take to {city}", "is there a train to {city}", "i want to be in {city} at {hour}"),
}
BEFORE, AFTER = ("", "please", "hello ,", "could you help ,", "well ,"), ("", "please", "now", "again", "thank you")


def intents(sentences: int, seed: int) -> dict[str, Labelled]:
    """Draws spoken requests to a machine; some also state, before or after, what the speaker does not want."""
    kinds, slots = tuple(INTENTS), {"city": CITIES, "hour": HOURS, "whom": WHOM, "work": WORKS}

    def said(rng: np.random.Generator, kind: str) -> str:
        return str(rng.choice(INTENTS[kind])).format(**{name: rng.choice(words) for name, words in slots.items()})

    def one(rng: np.random.Generator, part: str) -> Drawn:
        kind, other = rng.permutation(len(kinds))[:2]
        wanted = said(rng, kinds[kind])
        if rng.random() < 0.4:
            pair = [f"i said {wanted}", f"i did not say {said(rng, kinds[other])}"]
            return [(" , ".join(pair[:: int(rng.choice([1, -1]))]), int(kind))]
        return [(f"{rng.choice(BEFORE)} {wanted} {rng.choice(AFTER)}".strip(), int(kind))]

    return in_parts(one, sentences, seed, kinds)


GENERATED: dict[str, Callable[[int, int], dict[str, Labelled]]] = {
    "order": ordered,
    "clauses": clauses,
    "intents": intents,
}
