"""Who may include whom: the table in docs/architecture.md, as a test"""
import re

import pytest

import tree

# A folder below src/, and what its files may include besides their own folder.
ALLOWED = {
    'base': (),
    'conf': ('base/',),
    'net': ('base/', 'conf/'),
    'proto': ('base/',),
    'media': ('base/', 'net/', 'proto/', 'bpf/flow_abi.h'),
    'session': ('base/', 'proto/', 'media/media.h'),
    'link': ('base/', 'conf/', 'net/', 'proto/', 'store/'),
    'store': ('base/', 'net/'),
    'accounting': ('base/', 'conf/', 'net/', 'proto/', 'store/'),
    'management': ('base/', 'conf/', 'net/', 'proto/'),
    'dispatcher': ('base/', 'conf/', 'net/', 'proto/', 'link/', 'accounting/', 'management/',
                   'store/'),
    'relay': ('base/', 'conf/', 'net/', 'proto/', 'media/', 'session/', 'link/', 'management/',
              'store/'),
    'ctl': ('base/', 'conf/', 'net/', 'proto/'),
}
GENERATED = ('version.h', 'relay.skel.h')

# The dispatcher and the operator's command are to build on any POSIX system.
LINUX_ONLY = re.compile(r'(linux|asm|bpf|xdp|libmnl)/|netpacket/packet\.h|sys/(epoll|eventfd|'
                        r'timerfd|signalfd|inotify|prctl|fanotify|capability|sysinfo)\.h')
LINUX_FOLDERS = ('src/media/', 'src/relay/', 'bpf/')

# Libraries that stand behind one folder.
BEHIND_NET = re.compile(r'event2/|event\.h|evhttp\.h|openssl/|ares|curl/|systemd/|cap-ng\.h')
BEHIND_CONF = re.compile(r'ini\.h')

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def sources():
    return tree.ours('.c', '.h', below=('src/',))


def folder_of(name):
    return name.split('/')[1]


def includes(name):
    return INCLUDE.findall(tree.text_of(name))


def breaks_the_table(folder, included):
    if included in GENERATED or included.startswith(folder + '/'):
        return False
    return not any(included == allowed or allowed.endswith('/') and included.startswith(allowed)
                   for allowed in ALLOWED[folder])


def system_rule(name, header):
    """What is wrong with a system header here, or None."""
    if LINUX_ONLY.match(header) and not name.startswith(LINUX_FOLDERS):
        return 'only for Linux'
    if BEHIND_NET.match(header) and not name.startswith('src/net/'):
        return 'only in src/net'
    if BEHIND_CONF.match(header) and not name.startswith('src/conf/'):
        return 'only in src/conf'
    return None


def test_every_folder_is_in_the_table():
    assert {folder_of(name) for name in sources()} <= set(ALLOWED)


def test_no_include_goes_against_the_table():
    wrong = [f'{name}: {path}' for name in sources() for quote, path in includes(name)
             if quote == '"' and breaks_the_table(folder_of(name), path)]
    assert wrong == []


def test_linux_and_library_headers_stand_only_where_they_may():
    wrong = [f'{name}: <{header}>: {system_rule(name, header)}'
             for name in sources() for quote, header in includes(name)
             if quote == '<' and system_rule(name, header)]
    assert wrong == []


def test_what_we_include_of_ours_is_written_from_the_include_root():
    wrong = [f'{name}: {path}' for name in sources() for quote, path in includes(name)
             if quote == '"' and path not in GENERATED and '/' not in path]
    assert wrong == []


@pytest.mark.parametrize('folder, included, wrong', [
    ('base', 'base/span.h', False),
    ('base', 'net/loop.h', True),
    ('session', 'media/media.h', False),
    ('session', 'media/worker.h', True),
    ('link', 'dispatcher/calls.h', True),
    ('dispatcher', 'session/session.h', True),
    ('relay', 'session/session.h', False),
    ('media', 'bpf/flow_abi.h', False),
    ('media', 'bpf/relay.h', True),
])
def test_the_table_is_read_as_it_is_meant(folder, included, wrong):
    assert breaks_the_table(folder, included) == wrong


@pytest.mark.parametrize('name, header, wrong', [
    ('src/net/loop.c', 'event2/event.h', False),
    ('src/link/link.c', 'event2/event.h', True),
    ('src/net/loop.c', 'sys/epoll.h', True),
    ('src/media/worker.c', 'sys/epoll.h', False),
    ('src/ctl/main.c', 'curl/curl.h', True),
    ('src/conf/conf.c', 'ini.h', False),
])
def test_the_rules_for_system_headers_are_read_as_they_are_meant(name, header, wrong):
    assert (system_rule(name, header) is not None) == wrong
