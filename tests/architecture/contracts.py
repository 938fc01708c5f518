"""A contract type for import-linter: one domain reaches another only through its doors.

import-linter's own types can't say "the same domain": its wildcards in two lists are independent. setup.cfg
names this class under `contract_types`, so that `make lint` and the architecture tests hold the same rule.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class DomainDoors(Contract):
    """Modules of one package below `domains` import another one's `doors` only."""

    domains = fields.StringField()
    doors = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Collect each import that enters a domain other than through a door."""
        output.verbose_print(verbose, f"Looking at the domains in {self.domains}")
        trespasses = [
            (importer, imported)
            for importer in sorted(graph.modules)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if self._trespasses(importer, imported)
        ]
        return ContractCheck(kept=not trespasses, metadata={"trespasses": trespasses})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Say for each trespass what to import instead."""
        doors = ", ".join(sorted(self.doors))
        for importer, imported in check.metadata["trespasses"]:
            output.print_error(f"{importer} imports {imported}: use that domain's {doors}.", bold=False)

    def _trespasses(self, importer: str, imported: str) -> bool:
        home, _ = self._split(importer)
        target, inside = self._split(imported)
        if not home or not target or home == target:
            return False
        return inside.split(".")[0] not in self.doors

    def _split(self, module: str) -> tuple[str, str]:
        """(domain, path inside it) of a module; two empty strings outside all domains."""
        prefix = f"{self.domains}."
        if not module.startswith(prefix):
            return "", ""
        domain, _, inside = module.removeprefix(prefix).partition(".")
        return domain, inside
