"""An organisation at work: enrols people, writes records for them, asks for access, reads what it was granted.

In: requests of the organisation's own staff and software (HTTP, bearer token). Out: records on the network, plaintext at this edge
only. Uses the keyring (keys), the index (what it wrote and holds), FHIR (checking and grouping) and the SDK (all network work).
Never: another organisation's records without a grant, a node's storage.
"""
