"""Makes the benchmark's server like an installed one: without the libraries that only development brings.

structlog loads rich where it finds it, which an installation does not have.
"""

import sys

sys.modules["rich"] = None  # type: ignore[assignment]
