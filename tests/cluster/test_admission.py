"""Every overlay is taken by the API server as it stands: no unknown field, nothing that admission refuses."""

import re

import pytest

from tests.fixtures.kubernetes import K8S, manifests

BUILDS = {
    **{overlay: (f"overlays/{overlay}", ()) for overlay in ("local", "gpu", "production")},
    "everything": ("overlays/local", tuple(sorted(folder.name for folder in (K8S / "components").iterdir()))),
}


@pytest.mark.parametrize("build", BUILDS)
def test_a_strict_server_side_dry_run_takes_it(cluster, build):
    cluster.kubectl("apply", "--server-side", "-f", str(K8S / "base" / "namespace.yaml"))

    said = cluster.run(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"), given=manifests(*BUILDS[build])
    )

    assert said.returncode == 0, said.stderr
    assert re.findall("^Warning: .*", said.stderr, re.MULTILINE) == [], "Pod Security, and what is deprecated"
    assert said.stdout.count("serverside-applied (server dry run)") == len(said.stdout.splitlines())


def test_the_namespace_refuses_a_pod_that_is_not_restricted(cluster):
    cluster.kubectl("apply", "--server-side", "-f", str(K8S / "base" / "namespace.yaml"))

    said = cluster.run("run", "root", "--image=casebook/cli:dev", "--dry-run=server")

    assert said.returncode != 0
    assert 'violates PodSecurity "restricted' in said.stderr
