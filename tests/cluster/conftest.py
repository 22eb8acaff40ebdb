"""A cluster of one's own: CASEBOOK_TEST_KUBECONFIG names it, and its namespace `casebook` is made and removed."""

import os
import shutil

import pytest

from tests.fixtures.kubernetes import Cluster


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/cluster" in item.path.as_posix():
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def cluster():
    kubeconfig = os.environ.get("CASEBOOK_TEST_KUBECONFIG", "")
    if not kubeconfig or not shutil.which("kubectl"):
        pytest.skip("needs kubectl and a cluster to try things on: CASEBOOK_TEST_KUBECONFIG=/path/to/its/kubeconfig")
    cluster = Cluster(kubeconfig)
    cluster.remove()
    yield cluster
    if not os.environ.get("CASEBOOK_TEST_KEEP"):
        cluster.remove()
