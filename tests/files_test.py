"""What a command writes: a file appears when it is complete, and what is no file stays what it is."""

import contextlib
import os
import stat
import threading

from skillmix_jax import files


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
  pipe = tmp_path / 'pipe'  # as /dev/stdout and /dev/null are, which a rename would replace for the whole machine
  os.mkfifo(pipe)
  got = []
  reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
  reader.start()
  files.write_pieces(pipe, ['a\n', 'é\n'])
  reader.join(timeout=10)
  assert got == ['a\né\n'] and stat.S_ISFIFO(pipe.stat().st_mode)
  assert [path.name for path in tmp_path.iterdir()] == ['pipe']


def test_what_was_there_stays_until_the_new_text_is_complete(tmp_path):
  path = tmp_path / 'page.html'
  files.write_text(path, 'old')

  def pieces():
    yield 'new'
    assert path.read_text() == 'old'
    raise KeyboardInterrupt

  with contextlib.suppress(KeyboardInterrupt):
    files.write_pieces(path, pieces())
  assert path.read_text() == 'old' and len(list(tmp_path.iterdir())) == 1
