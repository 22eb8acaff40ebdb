"""The alert rules hold what their unit tests say, and speak of metrics that the code has."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "infra" / "prometheus"


def rules() -> list[dict]:
    """Every rule of every file."""
    files = [yaml.safe_load(path.read_text()) for path in (PROMETHEUS / "rules").glob("*.yaml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def test_rules_pass_their_unit_tests():
    if shutil.which("promtool") is None:
        pytest.skip("PROMETHEUS RULES NOT TESTED: there is no promtool here (Debian: apt install prometheus)")

    result = subprocess.run([str(PROMETHEUS / "check.sh")], capture_output=True, text=True, timeout=50, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def stem_of(name: str) -> str:
    return re.sub(r"(_seconds)?(_count|_sum|_bucket|_total)?$", "", name)


def test_rules_speak_of_metrics_that_the_code_has():
    source = "\n".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    # As OpenTelemetry's instruments are named, and as Prometheus' are. (FastAPI's and Prometheus' own are not ours.)
    declared = {stem_of(name.replace(".", "_")) for name in re.findall(r'"(casebook[._][a-z_.]+)"', source)}

    named = {name for rule in rules() for name in re.findall(r"\bcasebook_[a-z_]+", rule["expr"])}

    assert {name for name in named if stem_of(name) not in declared} == set()


def test_prometheus_scrapes_every_process_of_compose():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    probed = {name for name, service in services.items() if "/app/ready.py" in str(service.get("healthcheck"))}
    [casebook] = [
        job
        for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
        if job["job_name"] == "casebook"
    ]

    assert set(casebook["dns_sd_configs"][0]["names"]) == {name for name in probed if "profiles" not in services[name]}


@pytest.mark.parametrize("where", ["docker-compose.yml", "k8s/components/monitoring/prometheus.yaml"])
def test_prometheus_keeps_what_the_rules_look_back_on(where):
    days = [int(found) for rule in rules() for found in re.findall(r"\[(\d+)d\]", rule["expr"])]
    [kept] = re.findall(r"--storage\.tsdb\.retention\.time=(\d+)d", (ROOT / where).read_text())

    assert int(kept) > max(days)


def test_every_alert_has_a_unit_test_and_says_what_to_do():
    tested = {
        test["alertname"]
        for path in (PROMETHEUS / "tests").glob("*.yaml")
        for case in yaml.safe_load(path.read_text())["tests"]
        for test in case["alert_rule_test"]
        if test["exp_alerts"]
    }
    alerts = [rule for rule in rules() if "alert" in rule]

    assert {alert["alert"] for alert in alerts} == tested
    assert all(alert["annotations"]["summary"] and alert["annotations"]["action"] for alert in alerts)


def test_every_alert_and_every_objective_has_its_runbook():
    entries = set(re.findall(r"^### (.+)$", (PROMETHEUS / "runbooks.md").read_text(), re.MULTILINE))
    burning = {"ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"}

    objectives = {rule["labels"]["slo"] for rule in rules() if rule.get("record") == "slo:budget"}
    alerts = {rule["alert"]: rule["annotations"]["runbook"] for rule in rules() if "alert" in rule}

    assert entries == objectives | (alerts.keys() - burning)
    for alert, runbook in alerts.items():
        anchor = "{{ $labels.slo }}" if alert in burning else alert.lower()
        assert runbook == f"infra/prometheus/runbooks.md#{anchor}"
