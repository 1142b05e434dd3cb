#!/usr/bin/python3
"""bench/signalling.py: calls a second through both daemons and mTLS, and memory at rest

A dispatcher and a relay on loopback with throw-away certificates, as `make run` starts
them; `mediaproxy bench signalling` is the SIP proxy. Reports, and asserts nothing.
"""
import argparse
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tools'))
import run  # noqa: E402  (found by the line above)

# Thousands of calls a second leave no pair the time to rest: the relay then takes the one that
# rested longest.
SETTINGS = 'port_range = 10000:60000\nport_rest = 5\nlog_level = WARNING\n'


def memory_kb(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmRSS:'))


def main():
    parser = argparse.ArgumentParser(description='Measure signalling.')
    parser.add_argument('--build', default='build')
    parser.add_argument('--seconds', default='10')
    parser.add_argument('--connections', default='8')
    arguments = parser.parse_args()
    run.CONFIG = run.CONFIG[:run.CONFIG.index('; enough')] + SETTINGS
    daemons = run.Run(arguments.build)
    try:
        daemons.start_all()
        for name, child in daemons.children.items():
            print(f'{name}: {memory_kb(child.pid)} kB resident, idle')
        print(SETTINGS.replace('\n', ', ').rstrip(', '))
        pids = ','.join(str(child.pid) for child in daemons.children.values())
        done = subprocess.run(
            [daemons.program('mediaproxy'), 'bench', 'signalling', '--runtime-dir',
             daemons.runtime_dir, '--seconds', arguments.seconds, '--connections',
             arguments.connections, '--pid', pids], check=False)
        for name, child in daemons.children.items():
            print(f'{name}: {memory_kb(child.pid)} kB resident, afterwards')
    finally:
        daemons.stop()
        daemons.remove()
    return done.returncode


if __name__ == '__main__':
    sys.exit(main())
