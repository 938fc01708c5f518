"""What can go wrong on a trial machine: one sentence about the problem, one about the way out."""


class LocalError(Exception):
    """A problem that a person at the keyboard can solve. `str()` gives both sentences, one a line."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem}\n  {way_out}")
        self.problem = problem
        self.way_out = way_out
