"""The audit log: capture of events in the transaction of the change, and what is later made of them."""
