#!/usr/bin/python3
"""tools/loglines.py: the log lines at INFO and above in the sources, against docs/logs.md

Prints what docs/logs.md lacks, as rows for it, and what it has that is gone; exits 1 if
there is either. A line is known by its level and its text, where each value is `…`.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
CALL = re.compile(r'\blog_(info|warning|error)\(\s*((?:"(?:[^"\\]|\\.)*"|\b[A-Z][A-Z_]+\w*|\s)+)')
PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"|(PRI\w+)|(\w+)')
VALUE = re.compile(r'%[-+ #0]*[\d*]*(?:\.[\d*]+)?(?:hh|h|ll|l|z|j|t)?[a-zA-Z]')
ROW = re.compile(r'^\| (info|warning|error) \| `(.*?)` \|', re.MULTILINE)


def shape(pieces):
    """The text of a format, its values replaced."""
    text = ''
    for literal, directive, macro in PIECE.findall(pieces):
        text += 'u' if directive else '%s' if macro else literal
    text = text.replace('%%', '\0')
    text = VALUE.sub('…', text).replace('\0', '%')
    return text.replace('\\"', '"').replace('\\n', ' ').replace('`', "'").replace('|', '/')


def in_sources():
    found = {}
    for path in sorted((TOP / 'src').glob('**/*.c')):
        for level, pieces in CALL.findall(path.read_text(encoding='utf-8')):
            found.setdefault((level, shape(pieces)), path.relative_to(TOP / 'src').parts[0])
    return found


def in_document():
    return set(ROW.findall((TOP / 'docs/logs.md').read_text(encoding='utf-8')))


def main():
    sources, documented = in_sources(), in_document()
    missing = [key for key in sources if key not in documented]
    gone = sorted(documented - set(sources))
    for folder in sorted({sources[key] for key in missing}):
        print(f'docs/logs.md lacks, of src/{folder}:')
        for level, text in missing:
            if sources[level, text] == folder:
                print(f'| {level} | `{text}` |  |')
    if gone:
        print('docs/logs.md has what is gone:')
        for level, text in gone:
            print(f'| {level} | `{text}` |')
    return 1 if missing or gone else 0


if __name__ == '__main__':
    sys.exit(main())
