"""Exact search over sealed values by short keyed tokens, in `search.token`.

Which fields have an index, and of how many bits, follows from the data map and from the number of records (`plan`).
Tokens are written in the transaction of their row (`tokens`), records are found by them and opened (`find`), and budget
and keys are looked after every night and after a rotation (`upkeep`).
"""

from crm_server.kernel.blindindex.find import find_exact
from crm_server.kernel.blindindex.plan import NotIndexed, indexable, plan
from crm_server.kernel.blindindex.tokens import EntityTokens, tokens_for

__all__ = ["EntityTokens", "NotIndexed", "find_exact", "indexable", "plan", "tokens_for"]
