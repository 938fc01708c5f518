"""SQL types that SQLAlchemy does not know. Importing this module also teaches reflection to know them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        """Name of the SQL type."""
        return "xid8"


# Without it the comparison of models and database would not know the type that it finds.
ischema_names["xid8"] = Xid8
