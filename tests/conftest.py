"""Fixtures that every folder of tests may use; each real part has its file in tests/fixtures/."""

import importlib.util

pytest_plugins = [
    f"tests.fixtures.{name}"
    for name in (
        "encoders",
        "inference",
        "infrastructure",
        "support",
        "gateway",
        "kafka",
        "ledger",
        "system",
        "prometheus",
    )
    if importlib.util.find_spec(f"tests.fixtures.{name}") is not None
]
