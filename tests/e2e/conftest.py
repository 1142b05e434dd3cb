"""Fixtures of the end-to-end tests; README.md beside this file says how to use them."""

import os

import pytest

from mp import netns, programs
from mp.system import CallSystem


def pytest_configure(config):
    if netns.available() is None:
        netns.remove_stale()


def pytest_unconfigure(config):
    if netns.available() is None:
        netns.remove_stale()


ENGINES = ["userspace", "tc", "xdp"]


def pytest_generate_tests(metafunc):
    """A test marked `engine` runs once for each, or for those that the marker names."""
    marker = metafunc.definition.get_closest_marker("engine")
    if marker:
        if "engine" not in metafunc.fixturenames:
            metafunc.fixturenames.append("engine")
        metafunc.parametrize("engine", marker.args or ENGINES)


def pytest_collection_modifyitems(config, items):
    """Tests that use the network need root. Those that need none come first."""
    reason = netns.available()
    for item in items:
        if "network" in getattr(item, "fixturenames", ()) or engine_of(item) in ENGINES[1:]:
            item.add_marker(pytest.mark.root)
        if reason and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason=reason))
    items.sort(key=lambda item: item.get_closest_marker("root") is not None)


def engine_of(item):
    """The engine that an item's relays are to use, or None."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or item.get_closest_marker("engine") is None:
        return None
    return callspec.params["engine"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember whether the test failed, and show its daemons' logs then."""
    report = (yield).get_result()
    if report.when == "call":
        item.failed = report.failed
    if report.failed:
        for system in getattr(item, "systems", []):
            for name, text in system.logs().items():
                report.sections.append(("log of " + name, text))


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """A folder with the CA, the CRL and the certificates of both daemons."""
    folder = tmp_path_factory.mktemp("tls")
    programs.make_certificates(folder)
    return str(folder)


@pytest.fixture(scope="session")
def network():
    """Namespaces: network.caller, .callee, .proxy, .relay1 to .relay3, .stranger."""
    built = netns.Network()
    yield built
    built.close()


@pytest.fixture
def make_call_system(request, tmp_path, certs):
    """A function that makes a CallSystem; see there for what it takes."""
    request.node.systems = []
    engine = engine_of(request.node)

    def make(**options):
        if engine:
            options.setdefault("engine", engine)
        if engine and netns.available() is None:
            options.setdefault("network", request.getfixturevalue("network"))
        folder = tmp_path / ("system%d" % len(request.node.systems))
        os.makedirs(folder)
        system = CallSystem(folder, certs, started=False, **{
            k: v for k, v in options.items() if k != "started"})
        if request.node.get_closest_marker("leaves_sessions"):
            system.keep_sessions = True
        request.node.systems.append(system)
        return system.start() if options.get("started", True) else system

    yield make
    errors = []
    if engine and not getattr(request.node, "failed", True):
        marker = request.node.get_closest_marker("engine")
        for system in request.node.systems:
            errors += system.check_engine(**marker.kwargs)
    for system in reversed(request.node.systems):
        try:
            system.close(judge=not getattr(request.node, "failed", True))
        except AssertionError as error:
            errors.append(str(error))
    if errors:
        pytest.fail("\n\n".join(errors), pytrace=False)


@pytest.fixture
def call_system(make_call_system):
    """A dispatcher and a relay on loopback, connected."""
    return make_call_system()


@pytest.fixture
def call_network(make_call_system, network):
    """A dispatcher (on the proxy) and a relay in namespaces, connected."""
    return make_call_system(network=network)


@pytest.fixture
def sip_network(make_call_system, network):
    """The same, for tests that use Kamailio and sipp."""
    reason = programs.missing("kamailio", "sipp")
    if reason:
        pytest.skip(reason)
    return make_call_system(network=network)
