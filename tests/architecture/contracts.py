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
        # A package is a domain; a plain module beside them is shared vocabulary.
        domains = {name for name in graph.find_children(self.domains) if graph.find_children(name)}
        trespasses = [
            (importer, imported)
            for home in sorted(domains)
            for importer in sorted({home, *graph.find_descendants(home)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if self._trespasses(home, imported, domains)
        ]
        return ContractCheck(kept=not trespasses, metadata={"trespasses": trespasses})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Say for each trespass what to import instead."""
        doors = ", ".join(sorted(self.doors))
        for importer, imported in check.metadata["trespasses"]:
            output.print_error(f"{importer} imports {imported}: use that domain's {doors}.", bold=False)

    def _trespasses(self, home: str, imported: str, domains: set[str]) -> bool:
        """Whether the import enters another domain than `home`, and not through a door."""
        target = next((name for name in domains if f"{imported}.".startswith(f"{name}.")), home)
        if target == home:
            return False
        return imported.removeprefix(target).lstrip(".").split(".")[0] not in self.doors
