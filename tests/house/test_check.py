"""tools/check.py tells the truth: what crashes, says nothing or is skipped is not passed"""
import importlib.util
import json
import os

import pytest

import tree


@pytest.fixture
def check(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location('check', tree.TOP / 'tools' / 'check.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'OUT', str(tmp_path))
    (tmp_path / 'suite.log').write_text('what it said\n')
    return module


def outcomes(cases):
    return [(case.name, case.outcome) for case in cases]


def meson_log(folder, *programs):
    path = folder / 'testlog.json'
    path.write_text(''.join(json.dumps({'name': 'unit - mediaproxy / base', 'duration': 0.1,
                                        'stdout': '', 'stderr': '', **program}) + '\n'
                            for program in programs))
    return path


def test_each_test_of_a_cmocka_program_counts(check, tmp_path):
    path = meson_log(tmp_path, {'result': 'FAIL',
                                'stdout': '[       OK ] test_one\n',
                                'stderr': '[  FAILED  ] test_two\n[  FAILED  ] test_two\n'})
    assert outcomes(check.meson_cases('unit', path)) == [
        ('base.test_one', 'passed'), ('base.test_two', 'failed')]


@pytest.mark.parametrize('result', ['FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT'])
def test_a_program_that_crashes_after_its_last_test_fails(check, tmp_path, result):
    path = meson_log(tmp_path, {'result': result, 'stdout': '[       OK ] test_one\n'})
    assert outcomes(check.meson_cases('unit', path)) == [('base.test_one', 'passed'),
                                                         ('base', 'failed')]


def test_each_fuzz_target_counts(check, tmp_path):
    path = tmp_path / 'fuzz.log'
    path.write_text('fuzz rtp: ok, 100 inputs in 3 s\nfuzz stun: FOUND SOMETHING\n')
    assert outcomes(check.reported('fuzz', check.fuzz_cases, path, False, 1, 'exit status 1')) == [
        ('rtp', 'passed'), ('stun', 'failed')]


def test_a_suite_without_a_report_fails(check):
    cases = check.reported('suite', check.junit_cases, 'nowhere.xml', False, 1, 'signal 11')
    assert outcomes(cases) == [('suite', 'failed')]
    assert 'signal 11' in cases[0].text and 'what it said' in cases[0].text


def test_a_suite_in_which_no_test_ran_fails(check, tmp_path):
    path = tmp_path / 'empty.xml'
    path.write_text('<testsuites><testsuite/></testsuites>')
    cases = check.reported('suite', check.junit_cases, path, True, 1, None)
    assert outcomes(cases) == [('suite', 'failed')]


def test_a_suite_that_ends_badly_with_all_its_tests_passed_fails(check, tmp_path):
    path = tmp_path / 'good.xml'
    path.write_text('<testsuite><testcase classname="a" name="b" time="0.5"/></testsuite>')
    assert outcomes(check.reported('suite', check.junit_cases, path, False, 1, 'signal 9')) == [
        ('a.b', 'passed'), ('suite', 'failed')]


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(check):
    ok, _, why = check.run('suite', ['sh', '-c', 'sleep 1000 & echo $! >&2; wait'], 0.5)
    assert not ok and why == 'not done after 0.5 s'
    with open(os.path.join(check.OUT, 'suite.log'), encoding='ascii') as log:
        pid = int(log.read().split('\n')[1])
    assert check.run('suite', ['sh', '-c', f'while kill -0 {pid} 2>/dev/null; do sleep 0.1; done'],
                     10)[0]


@pytest.mark.parametrize('ci, name, outcome', [
    ('true', 'needs_root', 'skipped'),
    ('true', 'other', 'failed'),
    ('', 'other', 'skipped'),
])
def test_a_skip_without_a_reason_fails_in_ci(check, monkeypatch, tmp_path, ci, name, outcome):
    (tmp_path / 'tests').mkdir()
    (tmp_path / 'tests' / 'skips.txt').write_text(
        '# a comment: yes\nsuite/needs_*: no root here\nsuite/other:\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CI', ci)
    case = check.Case('suite', name, 0, 'skipped', 'why')
    assert check.judge_skips([case])[0].outcome == outcome


def test_the_last_line_is_the_sum(check, capsys):
    cases = [check.Case('suite', 'a', 0, outcome, '')
             for outcome in ('passed', 'passed', 'failed', 'skipped')]
    assert check.report(cases) == 1
    assert capsys.readouterr().out.endswith('\n2 passed, 1 failed, 1 skipped\n')
    assert check.report(cases[:2]) == 0
    assert capsys.readouterr().out.endswith('\n2 passed, 0 failed\n')
    assert check.report([]) == 1
