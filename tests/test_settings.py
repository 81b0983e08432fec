"""What child processes are given."""

import sys

import pytest

from scaffolder.settings import answering_environment, child_environment


@pytest.mark.skipif(sys.platform != "linux", reason="pages of memory are asked for on Linux alone")
@pytest.mark.parametrize(
    ("set_by_user", "given"),
    [
        ("", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        ("glibc.malloc.arena_max=2", {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"}),
        ("glibc.malloc.hugetlb=0", {}),
    ],
)
def test_large_pages_are_asked_for_unless_the_user_decided(set_by_user, given, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", set_by_user)
    assert answering_environment() == given


@pytest.mark.parametrize(
    ("set_by_user", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_sleep_soon_unless_the_user_decided(set_by_user, spins, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_by_user.items():
        monkeypatch.setenv(name, value)
    assert child_environment().get("GOMP_SPINCOUNT") == spins
