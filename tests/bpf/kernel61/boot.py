#!/usr/bin/python3
"""tests/bpf/kernel61/boot.py BUILD  Run BUILD's tests of the programs under Debian's own kernel

Fetches the kernel of linux-image-amd64 (Debian 12: 6.1) with apt into BUILD/kernel, without
installing it, makes an initramfs of BUILD's test programs and the libraries that they need, and
boots it in qemu. The last line is what came of it; the exit status is 0 if every program passed.
"""
import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time

BOOT_SECONDS = 900
MODULES = ['veth', 'sch_ingress', 'cls_bpf', '8021q']
TOOLS = ['ip']  # the tests that build a network call it


class Failed(Exception):
    pass


# ---- the kernel ----

def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise Failed(f'{" ".join(command)}: {done.stdout}')
    return done.stdout


def kernel_package():
    """The package that the metapackage names today."""
    depends = run('apt-cache', 'depends', 'linux-image-amd64')
    found = re.search(r'Depends: (linux-image-\S+)', depends)
    if not found:
        raise Failed(f'linux-image-amd64 names no kernel: {depends}')
    return found.group(1)


def fetch_kernel(folder):
    """The unpacked package, of the version that apt has now."""
    package = kernel_package()
    unpacked = os.path.join(folder, package)
    if not os.path.isdir(unpacked):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        run('apt-get', '-q', 'download', package, cwd=folder)
        deb = next(name for name in os.listdir(folder) if name.endswith('.deb'))
        run('dpkg-deb', '-x', deb, 'unpacking', cwd=folder)
        os.remove(os.path.join(folder, deb))
        os.rename(os.path.join(folder, 'unpacking'), unpacked)
    return unpacked


def find(folder, name):
    for where, _, names in os.walk(folder):
        if name in names:
            return os.path.join(where, name)
    raise Failed(f'no {name} in {folder}')


def with_what_they_need(unpacked, modules):
    """Their files, each behind those that it depends on."""
    files = {}
    for module in modules:
        path = find(unpacked, f'{module}.ko')
        with open(path, 'rb') as file:
            needs = re.search(rb'\0depends=([^\0]*)\0', file.read()).group(1).decode()
        files.update(with_what_they_need(unpacked, [need for need in needs.split(',') if need]))
        files.setdefault(module, path)
    return files


def image_of(unpacked):
    boot = os.path.join(unpacked, 'boot')
    return os.path.join(boot, next(name for name in os.listdir(boot)
                                   if name.startswith('vmlinuz-')))


# ---- the initramfs: a cpio archive of the form `newc` ----

class Archive:
    def __init__(self):
        self.bytes = bytearray()
        self.names = set()

    def add(self, name, mode, data=b'', device=(0, 0)):
        if name in self.names:
            return
        self.names.add(name)
        folder = os.path.dirname(name)
        if folder:
            self.add(folder, stat.S_IFDIR | 0o755)
        fields = (len(self.names), mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        self.bytes += b'070701' + b''.join(b'%08X' % field for field in fields)
        self.pad(name.encode() + b'\0')
        self.pad(data)

    def pad(self, data):
        self.bytes += data
        self.bytes += b'\0' * (-len(self.bytes) % 4)

    def add_file(self, name, path):
        with open(path, 'rb') as file:
            self.add(name, stat.S_IFREG | 0o755, file.read())

    def add_program(self, name, path):
        """With the libraries, each where the loader looks for it."""
        self.add_file(name, path)
        for library in re.findall(r'(/\S+) \(0x', run('ldd', path)):
            # /lib is a link to /usr/lib there, and a folder here.
            self.add_file(library.removeprefix('/usr').lstrip('/'), library)

    def end(self):
        self.add('TRAILER!!!', 0)
        return bytes(self.bytes)


def programs_of(build):
    folder = os.path.join(build, 'tests', 'bpf')
    names = sorted(name for name in os.listdir(folder)
                   if re.fullmatch(r'test_bpf_\w+', name))
    if not names:
        raise Failed(f'no test programs in {folder}')
    return {name: os.path.join(folder, name) for name in names}


def make_initramfs(path, build, programs, unpacked):
    archive = Archive()
    archive.add('dev/console', stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add('dev/null', stat.S_IFCHR | 0o666, device=(1, 3))
    archive.add_program('init', os.path.join(build, 'tests', 'bpf', 'kernel61', 'bpf_init'))
    for tool in TOOLS:
        archive.add_program(f'sbin/{tool}', os.path.realpath(shutil.which(tool)))
    for number, module in enumerate(with_what_they_need(unpacked, MODULES).values()):
        archive.add_file(f'modules/{number:02}-{os.path.basename(module)}', module)
    for name, program in programs.items():
        archive.add_program(f'tests/{name}', program)
    with open(path, 'wb') as file:
        file.write(archive.end())


# ---- the machine ----

def boot(image, initramfs):
    """What the machine says until it turns itself off."""
    machine = subprocess.Popen(
        ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', '768',
         '-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot',
         '-kernel', image, '-initrd', initramfs,
         '-append', 'console=ttyS0 panic=-1 loglevel=4'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors='replace')
    said = []
    watchdog = threading.Timer(BOOT_SECONDS, machine.kill)
    watchdog.start()
    try:
        for line in machine.stdout:
            said.append(line.rstrip())
            print(said[-1], flush=True)
    finally:
        watchdog.cancel()
        machine.kill()
        machine.wait()
    return said


def tests_that(said, outcome):
    names = set(re.findall(rf'^\[ +{outcome} +\] (\w+)$', '\n'.join(said), re.MULTILINE))
    return len(names)


def judge(said, programs):
    """None, or what went wrong."""
    ends = dict(re.findall(r'PROGRAM /tests/(\w+) (-?\d+)', '\n'.join(said)))
    wrong = [f'{name}: ' + (f'wait status {ends[name]}' if name in ends else 'did not end')
             for name in programs if ends.get(name) != '0']
    if wrong:
        return ', '.join(wrong)
    if 'DONE' not in said:
        return f'not done within {BOOT_SECONDS} s'
    if tests_that(said, 'OK') == 0:
        return 'every test was skipped'
    return None


def main():
    parser = argparse.ArgumentParser(description='Boot Debian\'s kernel, and test under it.')
    parser.add_argument('build', help='a build folder, without sanitizers')
    build = os.path.abspath(parser.parse_args().build)
    started = time.monotonic()
    try:
        programs = programs_of(build)
        unpacked = fetch_kernel(os.path.join(build, 'kernel'))
        initramfs = os.path.join(build, 'kernel', 'initramfs.cpio')
        make_initramfs(initramfs, build, programs, unpacked)
        said = boot(image_of(unpacked), initramfs)
        wrong = judge(said, programs)
    except (Failed, OSError) as error:
        wrong = str(error)
    seconds = time.monotonic() - started
    if wrong:
        print(f'FAILED after {seconds:.0f} s: {wrong}')
        return 1
    print(f'LOADED OK: {tests_that(said, "OK")} tests of {len(programs)} programs passed, '
          f'{tests_that(said, "SKIPPED")} skipped, under {os.path.basename(unpacked)}, '
          f'in {seconds:.0f} s')
    return 0


if __name__ == '__main__':
    sys.exit(main())
