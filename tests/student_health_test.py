"""What is odd about a student's replies is said beside its numbers."""

import json

from helpers.graded_runs import make

from evals import report
from evals.page import health
from evals.results import terminal
from evals.results.summary import RunMetrics


def test_cut_refused_unfinished_and_empty_replies_are_counted_and_shown(tmp_path, capsys):
  """Of 16 replies to 8 combinations: 6 cut, of which 3 left nothing to grade, 2 refused, 2 thoughts, 2 empty."""

  def said(request):
    number = int(request.slot.combination[-1])
    second = request.slot.step == 'answer2'
    if number < 3:
      return ('Answer: ' if second else 'Answer: Stones sing, and', 'length')
    return {
      3: ('', 'content_filter'), 4: ('<think>Stones, hm', 'stop'), 5: (' ', 'stop'),
    }.get(number, ('<think>x</think>Answer: Stones sing.', 'stop'))  # fmt: skip

  reported = report.report_run(make(tmp_path / 'run', 0, reply=said), None)
  found = reported.metrics.student_health
  assert (found.replies, found.cut, found.refused, found.unfinished, found.empty) == (16, 6, 2, 2, 2)
  assert found.no_text == 5 and found.names == ('fake-1',)  # 3 cut, 1 refused, 1 empty
  assert RunMetrics.from_json(json.loads(json.dumps(reported.metrics.to_json()))) == reported.metrics
  shown = '2 refused, 6 cut, 2 unfinished, 2 empty of 16 replies; 5 texts without a word to grade'
  terminal.print_run('run', reported.metrics, '')
  assert shown in capsys.readouterr().out
  facts = {fact.name: fact.values for fact in health.facts([report.to_view(reported, [])])}
  assert shown in facts['student’s replies'][0]


def test_a_renamed_student_is_said_and_a_whole_one_is_not(tmp_path, capsys):
  renamed = make(tmp_path / 'renamed', student=lambda request: f'fake-1-{request.slot.step}')
  for path, shown in ((renamed, True), (make(tmp_path / 'whole'), False)):
    terminal.print_run('run', report.report_run(path, None).metrics, '')
    out = capsys.readouterr().out
    assert ('the student: renamed in between: fake-1-answer1, fake-1-answer2' in out) == shown
    assert ('the student:' in out) == shown
