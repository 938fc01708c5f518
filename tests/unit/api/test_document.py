"""The OpenAPI document is complete: every parameter is explained, every way of files is in it."""

from __future__ import annotations

from typing import Any

from crm_server.api.openapi import document

METHODS = ("get", "post", "put", "patch", "delete")


def test_every_parameter_says_what_it_is_for() -> None:
    whole = document()
    silent = []
    for path, item in whole["paths"].items():
        for place in (item, *(item[name] for name in METHODS if name in item)):
            for given in place.get("parameters", ()):
                known: dict[str, Any] = given
                if "$ref" in given:
                    known = whole["components"]["parameters"][given["$ref"].rpartition("/")[2]]
                if not known.get("description"):
                    silent.append(f"{path} {known['name']}")
    assert silent == []


def test_imports_and_exports_are_described() -> None:
    paths = document()["paths"]
    one = "/api/v1/imports/{id}"
    assert set(paths["/api/v1/imports"]) == {"get", "post"}
    assert {"get", "delete"} <= set(paths[one])
    for act in ("check", "run", "stop", "resume", "undo"):
        assert {"202", "401", "403", "404", "409"} <= set(paths[f"{one}/{act}"]["post"]["responses"])
    assert set(paths[f"{one}/errors.csv"]["get"]["responses"]["200"]["content"]) == {"text/csv"}
    people = paths["/api/v1/contacts/export"]["get"]["responses"]["200"]["content"]
    assert "text/vcard" in people
    assert "text/vcard" not in paths["/api/v1/products/export"]["get"]["responses"]["200"]["content"]


def test_operations_have_names_of_their_own() -> None:
    names = [
        item[name]["operationId"] for item in document()["paths"].values() for name in METHODS if name in item
    ]
    assert len(names) == len(set(names))
