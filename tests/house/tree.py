"""tests/house/tree.py: the files of this project, for the tests of the house"""
import functools
import os
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
NOT_OURS = ('build', '.git', '__pycache__', '.pytest_cache')


def walk():
    """Without git (a release tarball): everything but what was built."""
    for folder, below, names in os.walk(TOP):
        below[:] = [name for name in below
                    if name not in NOT_OURS and not name.startswith('build-')]
        for name in names:
            yield str(pathlib.Path(folder, name).relative_to(TOP))


@functools.lru_cache(maxsize=None)
def files():
    """Paths from the top of every file that is, or is about to be, part of the project."""
    # The checkout may be somebody else's: git is told that this is all right.
    git = ['git', '-c', 'safe.directory=*', '-C', str(TOP)]
    listing = subprocess.run([*git, 'ls-files', '-z', '--cached', '--others',
                              '--exclude-standard'],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    names = listing.stdout.decode().split('\0') if listing.returncode == 0 else walk()
    return sorted(name for name in names if name and (TOP / name).is_file())


def text_of(name):
    return (TOP / name).read_text(encoding='utf-8', errors='replace')


def ours(*ends, below=('',)):
    """Those files whose names end so, below these folders."""
    return [name for name in files() if name.endswith(ends) and name.startswith(tuple(below))]


def is_text(name):
    with open(TOP / name, 'rb') as file:
        return b'\0' not in file.read(4096)


def test_data(name):
    """Bytes that a test or a fuzzer reads; no rule for text applies to them."""
    return name.startswith(('tests/fuzz/corpus/', 'tests/e2e/fixtures/'))


test_data.__test__ = False
