"""Laws of tokens: a word keeps its combining marks, equal texts have equal tokens, and ASCII is cut as ever."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest

from rnnjax import data

EMBLEM = "\U0001f469\u200d\U0001f52c\ufe0f"
WORDS = {
    "Hindi": ("यह हिन्दी है।", ["यह", "हिन्दी", "है", "।"]),
    "an accent apart": ("Cafe\u0301, re\u0301sume\u0301!", ["café", ",", "résumé", "!"]),
    "a capital dotted I": ("İstanbul'da İki", ["i\u0307stanbul'da", "i\u0307ki"]),
    "Thai": ("ที่นี่", ["ที่นี่"]),
    "Tamil": ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
    "Arabic with vowels": ("كَتَبَ", ["كَتَبَ"]),
    "Hebrew with points": ("שָׁלוֹם", [unicodedata.normalize("NFC", "שָׁלוֹם")]),
    "marks that do not compose": ("x\u0323\u0302y", ["x\u0323\u0302y"]),
    "a joiner in Persian": ("می\u200cروم", ["می\u200cروم"]),
    "a soft hyphen": ("Donau\u00addampf", ["donau\u00addampf"]),
    "an emblem of several": (f"ok {EMBLEM}\U0001f600", ["ok", EMBLEM, "\U0001f600"]),
    "a space of no width": ("a\u200bé", ["a", "\u200b", "é"]),
    "an apostrophe": ("L\u2019e\u0301te\u0301", ["l\u2019été"]),
}  # fmt: skip


@pytest.mark.parametrize("language", WORDS)
def test_a_word_keeps_its_marks_however_they_are_composed(language):
    text, expected = WORDS[language]
    assert data.tokenise(text) == expected
    for form in ("NFC", "NFD"):
        assert data.tokenise(unicodedata.normalize(form, text)) == expected
    assert data.tokenise(text, lower=False) == data.tokenise(unicodedata.normalize("NFD", text), lower=False)


def test_ascii_is_cut_as_ever_and_nothing_but_space_is_lost():
    rng, old = np.random.default_rng(0), re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
    for _ in range(300):
        text = "".join(map(chr, rng.integers(0, 128, 60)))
        assert data.tokenise(text) == old.findall(text.lower())
        wide = "".join(map(chr, rng.choice([*range(32, 0x250), *range(0x300, 0x370), *range(0x900, 0x980)], 60)))
        composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", wide).lower())
        assert "".join(data.tokenise(wide)) == "".join(c for c in composed if not c.isspace())
