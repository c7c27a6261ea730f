"""A record in one line for people: "2019-03-02 labs: 2 results (Glucose 92 mg/dL, Hemoglobin 13.1 g/dL)".

Only words a person wrote are shown: `text` and `display`, never codes. What has neither is counted, not named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from hce.service.fhir.catalogue import FHIR_JSON, Json
from hce.service.fhir.references import values_at
from hce.service.terms.records import ContentItem

Language = Literal["en", "zh-CN"]
MAX_SHOWN = 3
"""Resources named in one line."""
MAX_PHRASE_CHARS = 80
TITLE_PATHS: Final = (
    "code",
    "vaccineCode",
    "medicationCodeableConcept",
    "description",
    "title",
    "type",
    "category",
    "serviceType",
    "class",
    "item.productOrService",
    "procedureCode",
    "series.bodySite",
    "series.modality",
    "relationship",
)
COMPANIONS: Final = frozenset({"DiagnosticReport", "Medication", "Specimen", "Substance"})
"""Types that travel with what they are about: not counted beside it, or one medicine would be two."""
UNIT_WORDS: Final = {"mm[Hg]": "mmHg", "Cel": "°C", "kg/m2": "kg/m²", "1": ""}
UCUM_ANNOTATION = re.compile(r"\{[^}]*\}")


class KindWords(Struct, frozen=True):
    kind: str
    one: str
    many: str
    kind_zh: str
    counter_zh: str
    """Measure word and noun after the number."""


def _words(kind: str, one: str, many: str, kind_zh: str, counter_zh: str) -> tuple[str, KindWords]:
    return kind, KindWords(kind.replace("-", " "), one, many, kind_zh, counter_zh)


KIND_WORDS: Final = dict(
    (
        _words("allergy", "allergy", "allergies", "过敏", "项过敏"),
        _words("assessment", "assessment", "assessments", "评估", "项评估"),
        _words("careplan", "item", "items", "照护计划", "项"),
        _words("claim", "bill", "bills", "费用", "笔账单"),
        _words("condition", "diagnosis", "diagnoses", "诊断", "项诊断"),
        _words("consent", "consent", "consents", "知情同意", "份同意书"),
        _words("demographics", "entry", "entries", "个人信息", "项"),
        _words("device", "device", "devices", "器械", "件器械"),
        _words("directory", "entry", "entries", "机构信息", "项"),
        _words("document", "document", "documents", "文书", "份文书"),
        _words("encounter", "visit", "visits", "就诊", "次就诊"),
        _words("family-history", "entry", "entries", "家族史", "项"),
        _words("imaging", "study", "studies", "影像", "项检查"),
        _words("immunization", "vaccine", "vaccines", "接种", "剂疫苗"),
        _words("labs", "result", "results", "化验", "项结果"),
        _words("medication", "medicine", "medicines", "用药", "种药"),
        _words("message", "message", "messages", "沟通", "条消息"),
        _words("observation", "finding", "findings", "观察", "项"),
        _words("order", "order", "orders", "医嘱", "项医嘱"),
        _words("other", "entry", "entries", "其他", "项"),
        _words("procedure", "procedure", "procedures", "操作", "项操作"),
        _words("provenance", "entry", "entries", "来源", "条来源"),
        _words("research", "entry", "entries", "研究", "项"),
        _words("social", "finding", "findings", "生活史", "项"),
        _words("survey", "answer", "answers", "问卷", "项回答"),
        _words("vitals", "measurement", "measurements", "体征", "项测量"),
    )
)
"""Frame words of every record kind of `catalogue.RULES`, and of what is the organisation's own."""
PLAIN_KIND = KIND_WORDS["other"]


def summary_line(kind: str, date: str, items: Sequence[ContentItem], language: Language = "en") -> str:
    """Day, kind, count and the first few resources, bounded in length. Unknown kinds and unreadable items are counted plainly."""
    told = [(_resource_of(item).get("resourceType") in COMPANIONS, item_phrase(item)) for item in items]
    leading = [phrase for companion, phrase in told if not companion] or [phrase for _, phrase in told]
    named = list(dict.fromkeys(phrase for phrase in leading if phrase)) or list(
        dict.fromkeys(phrase for _, phrase in told if phrase)
    )
    return _framed(KIND_WORDS.get(kind, PLAIN_KIND), date, len(leading), named, language)


def _framed(words: KindWords, date: str, count: int, named: Sequence[str], language: Language) -> str:
    shown, more = named[:MAX_SHOWN], count > min(len(named), MAX_SHOWN)
    if language == "zh-CN":
        inside = "、".join(shown) + (" 等" if more else "")
        return f"{date} {words.kind_zh}：{count} {words.counter_zh}" + (f"（{inside}）" if shown else "")
    inside = ", ".join(shown) + (", ..." if more else "")
    return f"{date} {words.kind}: {count} {words.one if count == 1 else words.many}" + (f" ({inside})" if shown else "")


def item_phrase(item: ContentItem) -> str:
    """One resource in a few words, "" when it holds none; a file is its name."""
    if item.media_type != FHIR_JSON:
        return _short(item.name)
    resource = _resource_of(item)
    if resource.get("resourceType") in {"Patient", "RelatedPerson"}:
        return _short(_person(resource))
    title = next((words for path in TITLE_PATHS for value in values_at(resource, path) if (words := _text(value))), "")
    if not title:
        return ""
    return " ".join(part for part in (_short(title), _short(_value(resource))) if part)


def _resource_of(item: ContentItem) -> Json:
    """The resource of an item, empty when it is a file or cannot be read."""
    try:
        resource = msgspec.json.decode(item.content) if item.media_type == FHIR_JSON else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return resource if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str) else {}


def _person(resource: Json) -> str:
    for name in values_at(resource, "name"):
        if text := _text(name):
            return text
        if isinstance(name, dict):
            return " ".join(str(part) for part in (*values_at(name, "given"), *values_at(name, "family")))
    return ""


def _value(resource: Json) -> str:
    """The measured value, or those of the components ("120 / 80 mmHg"), or the sum of a bill."""
    if found := _one_value(resource):
        return found
    parts = [value for component in values_at(resource, "component") if (value := _one_value(component))]
    units = {part.partition(" ")[2] for part in parts}
    if len(parts) > 1 and len(units) == 1:
        return f"{' / '.join(part.partition(' ')[0] for part in parts)} {units.pop()}".strip()
    return ", ".join(parts)


def _one_value(node: Any) -> str:
    for quantity in (*values_at(node, "valueQuantity"), *values_at(node, "total")):
        if isinstance(quantity, dict) and isinstance(number := quantity.get("value"), int | float):
            return f"{_number(number)} {_unit(quantity)}".strip()
    return next(
        (text for value in values_at(node, "valueCodeableConcept") + values_at(node, "valueString") if (text := _text(value))), ""
    )


def _unit(quantity: Json) -> str:
    stated = next((unit for name in ("unit", "currency", "code") if isinstance(unit := quantity.get(name), str)), "")
    return UNIT_WORDS.get(stated, UCUM_ANNOTATION.sub("", stated))


def _number(value: float) -> str:
    """Two decimals, or two digits when smaller than that."""
    if value and abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _text(value: Any) -> str:
    """Words of a string, a CodeableConcept, a Coding or a HumanName; never a code."""
    if isinstance(value, str):
        return value
    words = (*values_at(value, "text"), *values_at(value, "display"), *values_at(value, "coding.display"))
    return next((text for text in words if isinstance(text, str) and text), "")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_PHRASE_CHARS else line[: MAX_PHRASE_CHARS - 3] + "..."
