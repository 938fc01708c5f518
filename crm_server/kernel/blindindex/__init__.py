"""Exact search over sealed values by short keyed tokens, in `search.token`.

Which fields have an index, and of how many bits, follows from the data map and from the number of records (`plan`).
Tokens are written in the transaction of their row (`tokens`, `hook`), records are found by them and opened (`find`),
and budget and keys are looked after every night and after a rotation (`upkeep`).
"""
