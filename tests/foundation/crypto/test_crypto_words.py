"""Seed words: what is written on paper comes back, in either language, and slips of the pen are noticed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.crypto.errors import WordsInvalid
from hce.foundation.crypto.words import Language, entropy_from_words, seed_from_words, words_from_entropy

ABANDON = "abandon " * 11 + "about"
LEGAL = "legal winner thank year wave sausage worth useful legal winner thank yellow"
ENTROPIES = st.one_of(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))


@settings(max_examples=40, deadline=None)
@given(entropy=ENTROPIES, language=st.sampled_from(["en", "zh-CN"]))
def test_words_give_the_entropy_back(entropy: bytes, language: Language) -> None:
    words = words_from_entropy(entropy, language)
    assert len(words.split(" ")) == {16: 12, 32: 24}[len(entropy)]
    assert entropy_from_words(words).reveal() == entropy
    assert entropy_from_words(f"  {words.upper()}\n").reveal() == entropy


def test_vectors_of_the_bip() -> None:
    """From the English list of BIP-39's reference vectors (zero and 7f entropy); their seeds there use a passphrase, ours none."""
    assert words_from_entropy(bytes(16), "en") == ABANDON
    assert words_from_entropy(b"\x7f" * 16, "en") == LEGAL
    assert words_from_entropy(bytes(32), "en") == "abandon " * 23 + "art"
    assert seed_from_words(ABANDON).reveal().hex() == (
        "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1"
        "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"
    )


def test_chinese_may_be_written_with_any_spaces_or_none() -> None:
    words = words_from_entropy(bytes(range(32)), "zh-CN")
    spellings = [words, words.replace(" ", ""), words.replace(" ", "\u3000"), unicodedata.normalize("NFC", words) + " "]
    assert len({entropy_from_words(spelling).reveal() for spelling in spellings}) == 1
    assert len({seed_from_words(spelling).reveal() for spelling in spellings}) == 1


def test_the_two_languages_are_two_sentences_with_two_seeds() -> None:
    english, chinese = (words_from_entropy(bytes(16), language) for language in ("en", "zh-CN"))
    assert entropy_from_words(english) == entropy_from_words(chinese)
    assert seed_from_words(english) != seed_from_words(chinese)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "的",
        "abandon",
        "abandon " * 12,
        "abandon " * 11 + "aboot",
        "abandon " * 14 + "address",
        "的" * 12,
        "abandon " * 11 + "的",
        "的 的 的 的 的 的 的 的 的 的 的 的 about",
        "\x00" * 12,
        "x" * 10_000,
    ],
)
def test_slips_of_the_pen_are_noticed(text: str) -> None:
    for read in (entropy_from_words, seed_from_words):
        with pytest.raises(WordsInvalid):
            read(text)


def test_the_refusal_never_repeats_the_words() -> None:
    with pytest.raises(WordsInvalid) as refusal:
        entropy_from_words(ABANDON.replace("about", "zebra"))
    assert "abandon" not in str(refusal.value)
    assert "zebra" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_entropy_of_another_size_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="16 or 32"):
        words_from_entropy(bytes(20), "en")
