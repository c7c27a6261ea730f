"""Taking in a batch before it is committed on chain: check it, make it durable, sign for it.

In: an `IntakeBatch` signed by a certified organisation. Out: an `AvailabilityReceipt` that a `record.commit` carries. Called by the
node's API, in a worker thread. Never: learns who wrote or whom a record is about (openings are sealed), signs before everything it
signs for is on disk, writes anything for an organisation without a certificate.
"""
