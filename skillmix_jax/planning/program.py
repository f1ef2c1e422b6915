"""What the text of a program compiled for GPUs says: what is computed twice, and what is sent while products run.

A program is a list of computations, each a list of instructions in the order in which they are queued. Loops over the
blocks are computations of their own, with the number of their turns.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

from skillmix_jax.planning.estimate import Run

_COLLECTIVES = 'all-gather|reduce-scatter|all-reduce|all-to-all|collective-permute'
_FUSED = r'"__cudnn\$fmha(ScaleBias)?Softmax'  # with a bias where a mask hides other segments of a row
_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'f32': 4}


@dataclasses.dataclass(frozen=True)
class Reading:
  """What was found in a program; its fields are in the answer of `plan --json`.

  Attributes:
    rematerialised_products: matrix products that XLA computes once more because memory is short.
    fused_forwards_in_backward: forward passes of the fused attention in the backward pass of a block.
    sent_bytes: sizes of the arrays that a step gathers, scatters, sums or exchanges, by where: 'forward' and
      'backward' pass of the blocks, 'rest'.
    hidden_bytes: of these, what is on its way while a product runs.
  """

  rematerialised_products: int
  fused_forwards_in_backward: int
  sent_bytes: dict[str, int]
  hidden_bytes: dict[str, int]


def read(text: str) -> Reading:
  """Reads a GPU program."""
  bodies = _computations(text)
  with_dots = {name for name, lines in bodies.items() if any(' dot(' in line for line in lines)}

  def is_product(line: str) -> bool:
    called = re.search(r'calls=%([\w.-]+)', line)
    return ' dot(' in line or bool(called and called[1] in with_dots) or '"__cublas$' in line or '"__cudnn$' in line

  again = forwards = 0
  for lines in bodies.values():
    again += sum(bool(re.match(r'\s*(ROOT )?%[\w.-]*\.remat', line)) and is_product(line) for line in lines)
    if any(re.search(_FUSED + 'Backward"', line) for line in lines):
      forwards += sum(bool(re.search(_FUSED + '"', line)) for line in lines)

  sent, hidden = ({'forward': 0, 'backward': 0, 'rest': 0} for _ in range(2))
  for name, turns in _turns(bodies).items():
    where = 'forward'
    if any(' while(' in line for line in bodies[name]):
      where = 'rest'  # the step itself, or the loop over pieces of a batch
    elif any('transpose(' in line for line in bodies[name]):
      where = 'backward'
    for size, overlaps in _collectives(bodies[name], is_product):
      sent[where] += turns * size
      hidden[where] += turns * size * overlaps
  return Reading(again, forwards, sent, hidden)


def _computations(text: str) -> dict[str, list[str]]:
  """Returns the lines of each computation by its name; the program itself is ENTRY."""
  computations: dict[str, list[str]] = {}
  lines: list[str] = []
  for line in text.splitlines():
    header = re.match(r'(ENTRY )?%([\w.-]+) \(.*\{$', line)
    if header:
      lines = computations['ENTRY' if header[1] else header[2]] = []
    else:
      lines.append(line)
  return computations


def _turns(bodies: dict[str, list[str]]) -> dict[str, int]:
  """Counts how often a step goes through the program and through each loop's body, also of a loop in a loop."""
  turns, left = {'ENTRY': 1}, ['ENTRY']
  while left:
    outer = left.pop()
    for line in bodies[outer]:
      loop = re.search(r' while\(.*body=%([\w.-]+)', line)
      if loop:
        count = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
        turns[loop[1]] = turns[outer] * (int(count[1]) if count else 1)
        left.append(loop[1])
  return turns


def _collectives(lines: list[str], is_product) -> Iterator[tuple[int, bool]]:
  """Bytes of each thing that is sent, and whether a product is queued between its start and its end."""
  open_sends: dict[str, tuple[int, bool]] = {}
  for line in lines:
    start = re.match(rf'\s*(?:ROOT )?%([\w.-]+) = (.*?) (?:{_COLLECTIVES})-start\(', line)
    done = re.match(rf'\s*(?:ROOT )?%[\w.-]+ = (.*?) (?:{_COLLECTIVES})-done\(.*?%([\w.-]+)', line)
    if start:
      open_sends[start[1]] = (_size(start[2]), False)
    elif done:
      both, overlaps = open_sends.pop(done[2])
      result = _size(done[1])
      yield max(result, both - result), overlaps  # gathered: the result is whole; scattered: the operand is
    elif open_sends and is_product(line):
      open_sends = {name: (size, True) for name, (size, _) in open_sends.items()}


def _size(shapes: str) -> int:
  """Counts the bytes of all arrays in a type."""
  arrays = re.findall(r'(\w+)\[([\d,]*)\]', shapes)
  return sum(_BYTES.get(kind, 8) * math.prod(int(n) for n in dims.split(',') if n) for kind, dims in arrays)


def gradient_sums(text: str, run: Run) -> tuple[bool, list[str]]:
  """Reads how gradients are summed over the devices.

  Returns:
    Whether they are reduce-scattered, so that every device gets its part; and the shapes of those that are summed
    whole on every device instead, which sends twice as much.
  """
  cfg, split = run.config, run.tensor
  heads, kv_heads = cfg.num_heads * cfg.head_dim // split, cfg.num_kv_heads * cfg.head_dim // split
  widths = {heads, kv_heads, cfg.ffn_dim // split, cfg.vocab_size // split}
  whole = {tuple(sorted((cfg.dim, width))) for width in widths}
  summed = set()
  for shapes in re.findall(r'= (.*?) all-reduce(?:-start)?\(', text):
    for kind, first, second in re.findall(r'(\w+)\[(\d+),(\d+)\]', shapes):
      if tuple(sorted((int(first), int(second)))) in whole:
        summed.add(f'{kind}[{first},{second}]')
  return bool(re.search(r' reduce-scatter(-start)?\(', text)), sorted(summed)
