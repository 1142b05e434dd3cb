"""The documents name things that are there: links, files, functions, commands"""
import re
import subprocess
import urllib.parse

import tree

LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
FENCE = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)
CODE = re.compile(r'`([^`\n]+)`')


def documents():
    return [name for name in tree.ours('.md') if not tree.test_data(name)]


def anchors(name):
    """The anchors of a document's headings, as forges make them."""
    found = set()
    for line in FENCE.sub('', tree.text_of(name)).split('\n'):
        heading = re.match(r'#+\s+(.*)', line)
        if heading:
            words = re.sub(r'[^\w\- ]', '', heading.group(1).lower())
            found.add(words.strip().replace(' ', '-'))
    return found


def broken(name, target):
    """What is wrong with a link of this document, or None."""
    if re.match(r'[a-z]+:', target):
        return None
    path, _, anchor = target.partition('#')
    folder = (tree.TOP / name).parent
    where = folder / urllib.parse.unquote(path) if path else tree.TOP / name
    if not where.exists():
        return 'no such file'
    if anchor and where.suffix == '.md':
        if anchor not in anchors(str(where.resolve().relative_to(tree.TOP))):
            return 'no such heading'
    return None


def test_every_link_between_documents_leads_somewhere():
    wrong = [f'{name}: {target}: {broken(name, target)}' for name in documents()
             for target in LINK.findall(FENCE.sub('', tree.text_of(name)))
             if broken(name, target)]
    assert wrong == []


def test_every_file_of_ours_that_a_document_names_is_there():
    path = re.compile(r'(?:src|tests|tools|docs|man|bench|bpf)/[\w./*-]+')
    wrong = []
    for name in documents():
        for code in CODE.findall(FENCE.sub('', tree.text_of(name))):
            if path.fullmatch(code) and not list(tree.TOP.glob(code.rstrip('/'))):
                wrong.append(f'{name}: {code}')
    assert wrong == []


def test_every_function_that_the_architecture_names_is_in_the_sources():
    sources = '\n'.join(tree.text_of(name) for name in tree.ours('.c', '.h', below=('src/', 'bpf/')))
    named = re.findall(r'`(\w+)\(\)`', tree.text_of('docs/architecture.md'))
    assert named, 'the way of an update names functions'
    assert [name for name in sorted(set(named))
            if not re.search(rf'\b{name}\(', sources)] == []


def test_every_make_target_that_a_document_names_is_in_the_makefile():
    targets = set(re.findall(r'^([\w-]+):', tree.text_of('Makefile'), re.MULTILINE))
    # In the text only between back quotes, in a block at the start of a line.
    named = re.compile(r'(?:`|^(?:\s{4}|\$ |# )?)make ([a-z][\w-]*)', re.MULTILINE)
    wrong = [f'{name}: make {target}' for name in documents()
             for target in named.findall(tree.text_of(name)) if target not in targets]
    assert wrong == []


def test_every_target_of_the_makefile_is_phony_and_in_its_help():
    text = tree.text_of('Makefile')
    targets = set(re.findall(r'^([\w-]+):', text, re.MULTILINE)) - {'all', 'help'}
    phony = set(re.search(r'^\.PHONY: (.*)$', text, re.MULTILINE).group(1).split())
    helped = set(re.findall(r"@echo 'make ([\w-]+) ", text))
    assert targets <= phony
    assert targets <= helped


def test_every_tool_that_a_script_of_ours_calls_is_there():
    wrong = [f'{name}: {tool}' for name in ('Makefile', '.ci/run')
             for tool in re.findall(r'\b((?:tools|bench|tests)/[\w./-]+\.(?:sh|py))',
                                    tree.text_of(name))
             if not (tree.TOP / tool).exists()]
    assert wrong == []


def test_every_line_of_the_threat_model_names_tests_that_are_there():
    defined = set()
    for name in tree.ours('.py', '.c', below=('tests/',)):
        defined |= set(re.findall(r'^(?:def |static void |)(test_\w+)\(', tree.text_of(name),
                                  re.MULTILINE))
    rows, wrong = 0, []
    for table in re.findall(r'(?:^\|.*\n)+', tree.text_of('docs/threat-model.md'), re.MULTILINE):
        head, _, *lines = table.strip().split('\n')
        if not head.endswith('| test |'):
            continue
        for line in lines:
            named = re.findall(r'`(test_\w+)`', line.split('|')[-2])
            rows += 1
            wrong += [line] if not named else [n for n in named if n not in defined]
    assert rows > 20
    assert wrong == []


def test_every_log_line_is_explained():
    """tools/loglines.py prints the rows that docs/logs.md lacks."""
    done = subprocess.run(['/usr/bin/python3', 'tools/loglines.py'], cwd=tree.TOP,
                          stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
