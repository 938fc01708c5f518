"""What every domain stands on: the transaction, the actor, records, jobs, errors. Knows no domain."""
