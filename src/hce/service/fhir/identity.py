"""Whose Bundle is it, and is every resource theirs?

A resource that says whom it is about must say *this* patient, by a name that can be followed inside the Bundle, or by one of the
patient's own identifiers. Anything else is refused: a record sealed to the wrong person cannot be taken back from their devices.

`same_person` compares two identities for a receiving hospital. It is strict on purpose: "yes" needs a shared identifier, the same
birth date and a shared name; whatever falls between is "unclear" and for a human to decide.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import unquote

from msgspec import Struct

from hce.service.fhir.bundle import Entry, problem_of
from hce.service.fhir.catalogue import RULES, Json
from hce.service.fhir.errors import Problem
from hce.service.fhir.references import references_in, resolved, values_at

BY_IDENTIFIER = "Patient?identifier="
"""A conditional reference, as transactions may use; only by identifier, since a name or a birth date picks nobody for certain."""


class PatientIdentity(Struct, frozen=True):
    """Who a Bundle says it is about, normalised for comparison."""

    called: tuple[str, ...]
    """What references inside the Bundle may call this patient."""
    names: tuple[str, ...]
    """Spellings in comparable form, sorted: case, accents, width and punctuation do not count."""
    birth_date: str
    """As stated (YYYY, YYYY-MM or YYYY-MM-DD); "" when absent."""
    identifiers: tuple[tuple[str, str], ...]
    """(system, value), sorted; those without a system, and old or temporary ones, pick nobody and are left out."""
    shown_name: str
    """For people; never for comparison."""

    @property
    def matching_keys(self) -> frozenset[str]:
        """What to look a person up by: the same for every spelling of the same facts."""
        whole = len(self.birth_date) == len("2000-01-01")
        by_name = {f"person|{name}|{self.birth_date}" for name in self.names if whole}
        return frozenset({f"identifier|{system}|{value}" for system, value in self.identifiers} | by_name)


class Match(StrEnum):
    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


class Comparison(Struct, frozen=True):
    match: Match
    reasons: tuple[str, ...]
    """One of each: `identifier.` shared, mixed, conflict; `birth_date.` same, differs; `name.` same, differs; or `missing`."""


def identify(patient: Entry) -> PatientIdentity:
    """The identity in a Patient that passed the gate."""
    human_names = patient.resource.get("name", [])
    return PatientIdentity(
        called=patient.followed_as,
        names=tuple(sorted({spelling for name in human_names for spelling in _spellings(name)})),
        birth_date=patient.resource.get("birthDate", ""),
        identifiers=tuple(sorted(set(_identifiers(patient.resource)))),
        shown_name=next((shown for name in human_names if (shown := _shown(name))), ""),
    )


def same_person(a: PatientIdentity, b: PatientIdentity) -> Comparison:
    """Are these the same human being? Only "yes" may be acted on without a person looking."""
    reasons = (
        _compare_identifiers(set(a.identifiers), set(b.identifiers)),
        _compare("birth_date", bool(a.birth_date and b.birth_date), a.birth_date == b.birth_date),
        _compare("name", bool(a.names and b.names), bool(set(a.names) & set(b.names))),
    )
    return Comparison(_judge(set(reasons)), reasons)


def the_same_entry(a: PatientIdentity, b: PatientIdentity) -> bool:
    """One person's entry handed over again: every fact is equal, and so is an identifier or what the entry is called.

    It may say too little for `same_person`, which compares entries of different systems.
    """
    equal = (a.names, a.birth_date, a.identifiers) == (b.names, b.birth_date, b.identifiers)
    return equal and bool(a.identifiers or set(a.called) & set(b.called))


def whose(entry: Entry, identity: PatientIdentity) -> Problem | None:
    """None when the resource, and each resource contained in it, is about this patient or (borrowed types) about nobody."""
    for resource in (entry.resource, *entry.resource.get("contained", [])):
        rule = RULES.get(resource["resourceType"])
        if rule is None or resource["resourceType"] == "Patient":
            continue
        named = values_at(resource, rule.patient) if rule.patient else []
        if any(not _is_patient(reference, entry, identity) for reference in named if _says_who(reference)):
            return problem_of(entry, "fhir.wrong_patient", f"/{rule.patient.replace('.', '/')} is not this Bundle's patient")
        if resource is entry.resource and not rule.borrowed and not any(_says_who(reference) for reference in named):
            return problem_of(entry, "fhir.no_patient", f"/{rule.patient.replace('.', '/')} names nobody that can be checked")
    if RULES[entry.type].borrowed and not all(_may_be_named(name, entry, identity) for name in references_in(entry.resource)):
        return problem_of(entry, "fhir.wrong_patient", "a reference leads to another patient")
    return None


def names_patient(entry: Entry, identity: PatientIdentity) -> bool:
    """Does a borrowed resource itself name the patient?"""
    rule = RULES[entry.type]
    owners = values_at(entry.resource, rule.patient) if rule.patient else []
    if any(_is_patient(reference, entry, identity) for reference in owners):
        return True
    return any(_leads_to(literal, entry, identity) for literal in references_in(entry.resource))


def _judge(reasons: set[str]) -> Match:
    if reasons == {"identifier.shared", "birth_date.same", "name.same"}:
        return Match.YES
    if not reasons.isdisjoint({"identifier.shared", "identifier.mixed"}):
        return Match.UNCLEAR
    if "birth_date.differs" in reasons or "name.differs" in reasons:
        return Match.NO
    return Match.UNCLEAR


def _compare(fact: str, known: bool, equal: bool) -> str:
    return f"{fact}.{('same' if equal else 'differs') if known else 'missing'}"


def _compare_identifiers(a: set[tuple[str, str]], b: set[tuple[str, str]]) -> str:
    """Only systems that both have say anything. Agreeing in one and differing in another is a mixed-up file, not a match."""
    shared = a & b
    common = {system for system, _ in a} & {system for system, _ in b}
    if not common:
        return "identifier.missing"
    if common == {system for system, _ in shared}:
        return "identifier.shared"
    return "identifier.mixed" if shared else "identifier.conflict"


def _says_who(reference: Json) -> bool:
    return "reference" in reference or "identifier" in reference


def _is_patient(reference: Json, source: Entry, identity: PatientIdentity) -> bool:
    if literal := reference.get("reference"):
        return _leads_to(literal, source, identity)
    return any(pair in identity.identifiers for pair in _identifiers({"identifier": [reference.get("identifier", {})]}))


def _leads_to(literal: str, source: Entry, identity: PatientIdentity) -> bool:
    if literal.startswith(BY_IDENTIFIER):
        system, _, value = unquote(literal.removeprefix(BY_IDENTIFIER)).partition("|")
        return (system, value) in identity.identifiers
    return resolved(literal, source) in identity.called


def _may_be_named(literal: str, source: Entry, identity: PatientIdentity) -> bool:
    """In a borrowed resource: any reference but one to another patient."""
    return ("Patient/" not in literal and not literal.startswith("Patient?")) or _leads_to(literal, source, identity)


def _identifiers(resource: Json) -> Iterable[tuple[str, str]]:
    for identifier in resource.get("identifier", []):
        system, value = identifier.get("system", "").strip(), identifier.get("value", "").strip()
        if system and value and identifier.get("use") not in {"old", "temp"}:
            yield system, value


def _spellings(name: Json) -> Iterable[str]:
    """Family and given in both orders, and the name as text."""
    family, given = name.get("family", ""), " ".join(name.get("given", []))
    for spelling in (
        f"{given} {family}" if family and given else "",
        f"{family} {given}" if family and given else "",
        name.get("text", ""),
    ):
        if plain := normalised(spelling):
            yield plain


def normalised(text: str) -> str:
    """Comparable form: compatibility forms folded, Latin accents dropped, case folded, punctuation as space.

    Scripts without upper case (Chinese, Japanese, Korean) are joined without spaces, since they write a name with or without one.
    """
    folded = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(
        mark if mark.isalnum() or unicodedata.category(mark)[0] == "M" else " "
        for mark in folded
        if not "\u0300" <= mark <= "\u036f"
    )
    words = unicodedata.normalize("NFC", letters).split()
    cased = any(mark.upper() != mark.lower() for mark in letters)
    return (" " if cased else "").join(words)


def _shown(name: Json) -> str:
    return str(name.get("text", "")) or " ".join(part for part in (*name.get("given", []), name.get("family", "")) if part)
