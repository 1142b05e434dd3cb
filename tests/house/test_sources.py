"""Rules for the text of the sources: lengths, headers, white space"""
import re

import tree

FILE_LINES = 600
TEST_FILE_LINES = 900  # a list of cases reads well
COMMENT = re.compile(r'/\*.*?\*/', re.DOTALL)
FUNCTION_LINES = 80  # about 60 is meant; a table or a long switch may need more


def c_files():
    return tree.ours('.c', '.h', below=('src/', 'tests/', 'bench/', 'bpf/'))


def functions(text):
    """(name, lines) of each function body: `{` and `}` in the first column."""
    lines = text.split('\n')
    start = None
    for number, line in enumerate(lines):
        if line == '{':
            start = number
        elif line == '}' and start is not None:
            head = next((lines[above] for above in range(start - 1, -1, -1)
                         if re.match(r'\w', lines[above])), '')
            called = re.search(r'(\w+)\(', head)
            yield (called.group(1) if called else head), number - start - 1
            start = None


def test_no_file_is_too_long():
    lengths = {name: tree.text_of(name).count('\n') for name in c_files()}
    assert {name: lines for name, lines in lengths.items()
            if lines > (TEST_FILE_LINES if name.startswith('tests/') else FILE_LINES)} == {}


def test_no_function_is_too_long():
    long = [f'{name}: {function}: {lines} lines' for name in c_files()
            for function, lines in functions(tree.text_of(name)) if lines > FUNCTION_LINES]
    assert long == []


def test_the_length_of_a_function_is_counted():
    text = 'static int add(int a,\n\t       int b)\n{\n\tint c = a;\n\n\treturn c + b;\n}\n'
    assert list(functions(text)) == [('add', 3)]


def test_every_header_says_what_it_is_and_is_read_once():
    wrong = []
    for name in tree.ours('.h', below=('src/',)):
        text = tree.text_of(name)
        path = name.removeprefix('src/')
        if not text.startswith('#pragma once\n') or f'@file {path} ' not in text:
            wrong.append(name)
    assert wrong == []


def described(name, headers):
    """By its own header, by one of its folder that names it, or by a comment of its own."""
    folder, base = name.rsplit('/', 1)
    if tree.text_of(name).startswith('/*'):
        return True
    for header in headers:
        if header == name[:-2] + '.h' or name.startswith(header[:-2] + '_'):
            return True
        if header.startswith(folder + '/') and re.search(rf'\b{base}', tree.text_of(header)):
            return True
    return False


def test_every_source_is_described_by_its_header_or_by_itself():
    headers = tree.ours('.h', below=('src/',))
    assert [name for name in tree.ours('.c', below=('src/',))
            if not described(name, headers)] == []


def test_no_line_ends_in_white_space_and_every_file_in_a_newline():
    wrong = []
    for name in tree.files():
        if tree.test_data(name) or not tree.is_text(name) or name == 'LICENSE':
            continue
        text = tree.text_of(name)
        wrong += [f'{name}:{number}' for number, line in enumerate(text.split('\n'), 1)
                  if line != line.rstrip(' \t\r')]
        if text and not text.endswith('\n'):
            wrong.append(f'{name}: no newline at the end')
    assert wrong == []


def test_the_version_stands_in_one_place():
    version = re.search(r"version: '([^']+)'", tree.text_of('meson.build')).group(1)
    wrong = [name for name in tree.files()
             if name.startswith(('src/', 'bpf/', 'tools/', 'man/', 'Makefile'))
             and version in COMMENT.sub('', tree.text_of(name))]
    assert wrong == []


def test_no_path_of_one_machine_is_in_a_file():
    # Written in two parts, so that this file does not find itself.
    paths = re.compile('(?<![\\w.}])/(' + 'work/' + '|' + 'tmp/build' + '|'
                       + 'home/' + r'\w)')
    wrong = [f'{name}: {found.group(0)}' for name in tree.files()
             if not tree.test_data(name) and tree.is_text(name)
             for found in paths.finditer(tree.text_of(name))]
    assert wrong == []


def unit_tests():
    return [name for name in tree.ours('.c', below=('tests/unit/', 'tests/bpf/'))
            if '/test_' in name]


def test_every_test_program_and_fuzz_target_is_built():
    """One that no meson.build names would never run."""
    wrong = []
    for name in unit_tests() + tree.ours('.c', below=('tests/fuzz/fuzz_',)):
        folder, base = name.rsplit('/', 1)
        word = re.sub(r'^(test|fuzz)_|\.c$', '', base)
        if not re.search(rf'\b{word}\b', tree.text_of(folder + '/meson.build')):
            wrong.append(name)
    assert wrong == []


def test_every_test_program_has_a_test():
    assert [name for name in unit_tests()
            if not re.search('cmocka_unit_test|struct CMUnitTest', tree.text_of(name))] == []
