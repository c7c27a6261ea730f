"""FHIR R4 in, planned records out.

In: the bytes of a Bundle about one patient (JSON, gzip allowed). Out: `grouping.plan_import` gives who the patient is, the records to
seal, and every entry that was refused with its reason; `directory.plan_directory` the same for what an organisation keeps about itself;
`summary.summary_line` says a record in one human line. Before that: `scan.scan` says what is in a file of any form,
`sorting.sort_out` whose each thing is.
Called by the gateway's import, the CLI and the portal. Never: keys, network, storage, clocks; it never changes a byte of a
resource, and never repeats a patient's value in an error. What it does not check: FHIR invariants, slices, terminology.

One thing is loaded from disk, once: `fhir.schema.json.gz`, a build product of `build_schema`.
"""
