"""The walk over the flags of every command, with every wrong value and every key of a config."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from flag_walk_test import walk


def test_every_wrong_value_of_every_flag_is_answered_in_words(tmp_path):
  assert len(walk(tmp_path)) > 1000
