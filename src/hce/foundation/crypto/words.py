"""Seed words (BIP-39), English and simplified Chinese: what a person writes on paper and finds every key again with."""

from __future__ import annotations

import unicodedata
from typing import Literal

from mnemonic import Mnemonic

from hce.foundation.crypto.errors import WordsInvalid
from hce.foundation.crypto.secret import SecretBytes

Language = Literal["en", "zh-CN"]
ENTROPY_BYTES = (16, 32)
"""128 or 256 bits: 12 or 24 words."""
WORD_COUNTS = (12, 24)
_LISTS: dict[Language, Mnemonic] = {"en": Mnemonic("english"), "zh-CN": Mnemonic("chinese_simplified")}


def words_from_entropy(entropy: bytes, language: Language) -> str:
    """The sentence for 16 or 32 bytes of entropy, words separated by one space."""
    if len(entropy) not in ENTROPY_BYTES:
        raise ValueError("seed words hold 16 or 32 bytes of entropy")
    return str(_LISTS[language].to_mnemonic(entropy))


def entropy_from_words(text: str) -> SecretBytes:
    """The entropy behind a sentence in either language; `WordsInvalid` for an unknown word, a wrong count or checksum."""
    words = _split(text)
    language = _language_of(words)
    if len(words) not in WORD_COUNTS:
        raise WordsInvalid("count", actual=len(words), expected=WORD_COUNTS)
    try:
        return SecretBytes(bytes(_LISTS[language].to_entropy(words)))
    except ValueError:
        raise WordsInvalid("checksum") from None


def seed_from_words(text: str) -> SecretBytes:
    """64-byte BIP-39 seed (PBKDF2-HMAC-SHA512, 2,048 rounds, empty passphrase); the sentence is checked first."""
    entropy_from_words(text)
    return SecretBytes(Mnemonic.to_seed(" ".join(_split(text)), ""))


def _split(text: str) -> list[str]:
    """Words in NFKD and lower case. Chinese words are single characters and may be written without spaces."""
    plain = unicodedata.normalize("NFKD", text).lower()
    if all(character.isspace() or ord(character) >= 0x4E00 for character in plain):
        return [character for character in plain if not character.isspace()]
    return plain.split()


def _language_of(words: list[str]) -> Language:
    for language, known in _LISTS.items():
        if words and all(word in known.wordlist for word in words):
            return language
    raise WordsInvalid("language")
