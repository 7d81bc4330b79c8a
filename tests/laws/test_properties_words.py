"""Properties of tokens, alphabets and vocabularies, over generated texts."""

from __future__ import annotations

import unicodedata

import numpy as np
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnjax import data

ENDS = "\n\r\x85\u2028\u2029"


CHARACTERS = st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters=ENDS + "\ufeff")


SCRIPTS = st.text(
    st.one_of(
        st.sampled_from("aZ0'_ .,!?()[]{}\u2019\u200d\u200b\u0301\u0600\U0001f3fd\U0001f469\U0001f52c\ufe0f\u0e33İΣ"),
        st.sampled_from("हिन्दीยนำ한국\u1112\u1161\u11ab🇩🇪🇫e\u0323\u0302"),
        CHARACTERS,
    ),
    max_size=12,
)


@settings(max_examples=150)
@given(SCRIPTS, st.booleans())
def test_tokens_that_are_joined_are_the_same_tokens(text, lower):
    tokens = data.tokenise(text, lower)
    assert data.tokenise(data.detokenise(tokens), lower) == tokens


@settings(max_examples=150)
@given(SCRIPTS)
def test_no_token_cuts_what_is_read_as_one_character(text):
    composed = unicodedata.normalize("NFC", text)
    place = np.cumsum([0, *(not c.isspace() for c in composed)])  # of each character among those that are no space
    spaces = [i + 1 for i, c in enumerate(composed) if c.isspace()]
    borders = {int(place[i]) for i in (0, *spaces, *(m.end() for m in regex.finditer(r"\X", composed)))}
    assert set(np.cumsum([0, *map(len, data.tokenise(text, lower=False))]).tolist()) <= borders


@given(st.text(CHARACTERS, min_size=1, max_size=30))
def test_an_alphabet_spells_a_text_and_a_vocabulary_its_words(text):
    alphabet = data.Alphabet.of(text)
    assert alphabet.decode(alphabet.encode(text)) == text and len(alphabet.characters) == len(set(text))
    words = data.tokenise(text)
    vocabulary = data.Vocabulary.of(words)
    assert vocabulary.decode(vocabulary.encode(words)) == words and len(vocabulary) == 1 + len(set(words))
