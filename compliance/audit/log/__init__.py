"""The transparency log: gives committed audit events a dense index, a Merkle tree and signed checkpoints.

The `sealer` process drives this package; the export command and the explorer read from it. Nothing here
knows the application's tables except `postgres`, which is the adapter between the log and the database.
"""
