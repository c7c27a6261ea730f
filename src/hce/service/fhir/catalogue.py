"""What each FHIR R4 resource type is to HCE: whose it is, and what kind of record it becomes.

Every R4 type stands in exactly one of four tables.

- `RULES`: part of one person's record. A rule says the record kind and where the resource names its patient. The places follow the
  patient CompartmentDefinition, narrowed to the one element that says *whom it is about*: a performer, a policy holder or a
  recipient who happens to be another person does not make a resource theirs.
- `DIRECTORY`: about the organisation itself: its places, staff, services, timetables. Sealed into the organisation's own
  compartment, and not into every patient's record, where they would protect nothing.
- `DEFINITIONS`: written for software and for everybody (profiles, code lists, questionnaires, products, evidence): nobody's
  data. Not sealed.
- `NOT_KEPT`: may hold several people (Group, AuditEvent), or only carries others (Bundle). Refused by name, because dropping it
  silently would lose data and keeping it could mix people up.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

Json = dict[str, Any]
FHIR_JSON: Final = "application/fhir+json"
"""Media type of a resource in a record."""


class Rule(Struct, frozen=True):
    kind: str
    """Record kind of `PolicyBody.kind`."""
    patient: str
    """Dotted path of the Reference to the patient; lists on the way are walked. "" where there is none."""
    borrowed: bool = False
    """May name no patient: it is theirs because a resource of theirs in the same Bundle names it, or it names one."""


def _rules(patient: str, **types_by_kind: str) -> dict[str, Rule]:
    return {name: Rule(kind.replace("_", "-"), patient) for kind, names in types_by_kind.items() for name in names.split()}


def _types(names: str) -> frozenset[str]:
    return frozenset(names.split())


RULES: Final[dict[str, Rule]] = {
    "Patient": Rule("demographics", ""),
    **_rules(
        "subject",
        encounter="Encounter",
        observation="Observation",
        labs="DiagnosticReport Specimen",
        condition="Condition ClinicalImpression",
        procedure="Procedure",
        medication="MedicationAdministration MedicationDispense MedicationRequest MedicationStatement",
        careplan="CarePlan CareTeam Goal RequestGroup",
        imaging="ImagingStudy",
        document="Composition DocumentManifest DocumentReference List Media QuestionnaireResponse",
        assessment="RiskAssessment MeasureReport Flag AdverseEvent",
        order="ServiceRequest DeviceRequest",
        device="DeviceUseStatement",
        message="Communication CommunicationRequest",
        claim="Account ChargeItem Invoice",
        other="Basic",
    ),
    **_rules(
        "patient",
        allergy="AllergyIntolerance",
        immunization="Immunization ImmunizationEvaluation ImmunizationRecommendation",
        encounter="EpisodeOfCare",
        claim="Claim ClaimResponse ExplanationOfBenefit CoverageEligibilityRequest CoverageEligibilityResponse",
        consent="Consent",
        assessment="DetectedIssue",
        family_history="FamilyMemberHistory",
        order="NutritionOrder VisionPrescription",
        labs="MolecularSequence",
        observation="BodyStructure",
        demographics="RelatedPerson",
        device="SupplyDelivery",
    ),
    **_rules("beneficiary", claim="Coverage"),
    **_rules("candidate", claim="EnrollmentRequest"),
    **_rules("individual", research="ResearchSubject"),
    **_rules("for", order="Task"),
    **_rules("deliverTo", order="SupplyRequest"),
    "Appointment": Rule("encounter", "", borrowed=True),
    "AppointmentResponse": Rule("encounter", "", borrowed=True),
    "Binary": Rule("document", "securityContext", borrowed=True),
    "Contract": Rule("consent", "", borrowed=True),
    "Device": Rule("device", "patient", borrowed=True),
    "EnrollmentResponse": Rule("claim", "", borrowed=True),
    "GuidanceResponse": Rule("assessment", "subject", borrowed=True),
    "Medication": Rule("medication", "", borrowed=True),
    "PaymentNotice": Rule("claim", "", borrowed=True),
    "Person": Rule("demographics", "", borrowed=True),
    "Provenance": Rule("provenance", "", borrowed=True),
    "Substance": Rule("medication", "", borrowed=True),
}

DIRECTORY: Final = _types(
    """
    BiologicallyDerivedProduct DeviceMetric Endpoint HealthcareService InsurancePlan Location MedicationKnowledge Organization
    OrganizationAffiliation Practitioner PractitionerRole ResearchStudy Schedule Slot
    """
)

DEFINITIONS: Final = _types(
    """
    ActivityDefinition CapabilityStatement CatalogEntry ChargeItemDefinition CodeSystem CompartmentDefinition ConceptMap
    DeviceDefinition EffectEvidenceSynthesis EventDefinition Evidence EvidenceVariable ExampleScenario GraphDefinition
    ImplementationGuide Library Measure MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication
    MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured
    MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect MessageDefinition NamingSystem
    ObservationDefinition OperationDefinition PlanDefinition Questionnaire ResearchDefinition ResearchElementDefinition
    RiskEvidenceSynthesis SearchParameter SpecimenDefinition StructureDefinition StructureMap
    SubstanceNucleicAcid SubstancePolymer SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial
    SubstanceSpecification TerminologyCapabilities TestReport TestScript ValueSet
    """
)

SHARED: Final = DIRECTORY | DEFINITIONS
"""About no patient: in a patient's Bundle they are counted and passed over."""
DIRECTORY_KIND: Final = "directory"
STOCK: Final = _types("Device Medication Substance")
"""Borrowed types that, where nobody's resource names them and they name nobody, are what the organisation keeps in store."""

NOT_KEPT: Final = _types(
    """
    AuditEvent Bundle Group Linkage MessageHeader OperationOutcome Parameters PaymentReconciliation Subscription
    VerificationResult
    """
)

R4_TYPES: Final = frozenset(RULES) | SHARED | NOT_KEPT

LAB_CATEGORIES: Final = {
    "laboratory": "labs",
    "vital-signs": "vitals",
    "imaging": "imaging",
    "survey": "survey",
    "social-history": "social",
}
"""Observation.category codes of the HL7 `observation-category` system that have a kind of their own."""
IMAGING_SECTIONS: Final = frozenset({"RAD", "RUS", "RX", "CT", "NMR", "NMS", "OUS", "CUS", "VUS", "XRC", "imaging", "LP29684-5"})
"""DiagnosticReport.category: HL7 v2 table 0074 sections that are pictures, and LOINC's "Radiology"."""


def kind_of(resource: Json) -> str:
    """Record kind of a resource whose type is in `RULES` or `DIRECTORY`."""
    if resource["resourceType"] in DIRECTORY:
        return DIRECTORY_KIND
    kind = RULES[resource["resourceType"]].kind
    if resource["resourceType"] == "Observation":
        return next((LAB_CATEGORIES[code] for code in category_codes(resource) if code in LAB_CATEGORIES), kind)
    if resource["resourceType"] == "DiagnosticReport" and not IMAGING_SECTIONS.isdisjoint(category_codes(resource)):
        return "imaging"
    return kind


def category_codes(resource: Json) -> list[str]:
    return [coding["code"] for concept in resource.get("category", []) for coding in concept.get("coding", []) if "code" in coding]
