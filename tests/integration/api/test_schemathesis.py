"""A fuzzer over the OpenAPI document: no 5xx, and nothing that contradicts the document."""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from schemathesis.config import (
    ChecksConfig,
    CoveragePhaseConfig,
    ExamplesPhaseConfig,
    FuzzingPhaseConfig,
    GenerationConfig,
    PhasesConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
    SimpleCheckConfig,
    StatefulPhaseConfig,
)
from schemathesis.config._checks import MissingRequiredHeaderConfig, NegativeDataRejectionConfig
from schemathesis.engine import events, from_schema

from tests.integration.api.conftest import Client

SCALE = int(os.environ.get("KONTOR_FUZZ_SCALE", "1"))
"""How much longer than usual the fuzzer may look; a nightly run gives it more."""


def fuzz(
    wsgi: Any, client: Client, include: str, phases: PhasesConfig, seconds: int
) -> tuple[list[str], int]:
    """Run the fuzzer over the operations whose path matches; returns what it found, and how many calls it made."""
    config = SchemathesisConfig(
        max_time=seconds * SCALE,
        seed=int(os.environ.get("KONTOR_FUZZ_SEED", "20261122")),
        projects=ProjectsConfig(
            default=ProjectConfig(
                headers={"Authorization": f"Bearer {client.token}", "Host": "localhost"},
                phases=phases,
                continue_on_failure=True,
                # What a schema can't say (a reference must lead somewhere, a stage belongs to its pipeline) is refused
                # by 422 with the place: that is the contract, so well-formed input may be refused.
                # `ignored_auth` breaks on this transport (schemathesis 4.32 hands werkzeug a parameter that it does not
                # know); test_authentication.py asks every operation without a token.
                checks=ChecksConfig(
                    positive_data_acceptance=PositiveDataAcceptanceConfig(enabled=False),
                    # Before the body is judged, the version in If-Match is: 412 is a refusal, too.
                    negative_data_rejection=NegativeDataRejectionConfig(
                        expected_statuses=[
                            "400",
                            "401",
                            "403",
                            "404",
                            "405",
                            "409",
                            "412",
                            "413",
                            "415",
                            "422",
                            "428",
                        ]
                    ),
                    # A missing If-Match is told by the status that was made for it.
                    missing_required_header=MissingRequiredHeaderConfig(
                        expected_statuses=["400", "401", "403", "404", "415", "422", "428"]
                    ),
                    ignored_auth=SimpleCheckConfig(enabled=False),
                ),
                generation=GenerationConfig(max_examples=4 * SCALE, no_shrink=True, database="none"),
            )
        ),
    )
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", wsgi, config=config)
    schema = schema.include(path_regex=include)
    found: list[str] = []
    calls = 0
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(
                f"{getattr(event, 'label', '')}: {event.info.format() if hasattr(event, 'info') else event}"
            )
        if not isinstance(event, events.ScenarioFinished):
            continue
        calls += len(event.recorder.interactions)
        for key, checks in event.recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    sent = event.recorder.interactions[key].request
                    found.append(
                        f"{event.phase} {event.label} {check.name}: {failure.title} {failure.message}\n"
                        f"    {sent.method} {sent.uri} {sent.encoded_body and sent.body}\n"
                    )
    return found, calls


def only(**phases: Any) -> PhasesConfig:
    off: dict[str, Any] = {
        "examples": ExamplesPhaseConfig(enabled=False),
        "coverage": CoveragePhaseConfig(enabled=False),
        "fuzzing": FuzzingPhaseConfig(enabled=False),
        "stateful": StatefulPhaseConfig(enabled=False),
    }
    return PhasesConfig(**(off | phases))


BY_EXAMPLE = only(examples=ExamplesPhaseConfig())
AT_RANDOM = only(fuzzing=FuzzingPhaseConfig())
BY_BOUNDS = only(coverage=CoveragePhaseConfig())
OF_FILES = only(
    examples=ExamplesPhaseConfig(), coverage=CoveragePhaseConfig(), stateful=StatefulPhaseConfig()
)
AUDIT = only(coverage=CoveragePhaseConfig(), fuzzing=FuzzingPhaseConfig())
BY_LINKS = only(stateful=StatefulPhaseConfig())


@pytest.mark.slow
class TestContract:
    @pytest.mark.parametrize(
        "include,phases,seconds",
        [
            pytest.param("/api/v1/", BY_EXAMPLE, 15, id="every operation by example"),
            pytest.param("/api/v1/", AT_RANDOM, 25, id="every operation at random"),
            pytest.param(
                "/(contacts|opportunities|changes|me)", BY_BOUNDS, 20, id="the bounds of each value"
            ),
            pytest.param("/(imports|contacts/export)", OF_FILES, 15, id="imports and exports"),
            pytest.param("/(accounts|cases|leads|price-lists)", BY_LINKS, 15, id="from answer to answer"),
        ],
    )
    def test_the_fuzzer_finds_no_server_error_and_no_break_of_the_contract(
        self, wsgi: Any, manager: Client, include: str, phases: PhasesConfig, seconds: int
    ) -> None:
        found, calls = fuzz(wsgi, manager, include, phases, seconds)
        assert calls > 20
        assert not found, f"{calls} calls\n" + "\n".join(found[:20])

    def test_the_audit_log_and_its_settings_keep_to_the_document(self, wsgi: Any, login: Any) -> None:
        found, calls = fuzz(wsgi, login("Audit administrator"), "/api/v1/audit/", AUDIT, 12)
        assert calls > 20
        assert not found, f"{calls} calls\n" + "\n".join(found[:20])
