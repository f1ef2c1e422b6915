"""What is read in the text of a GPU program: a small program in the compilers' form, written by hand."""

import pytest

from configs import llama13b
from skillmix_jax import plan
from skillmix_jax.planning.hardware import parse_target
from skillmix_jax.planning.program import gradient_sums, read

# One block, 8 turns: of two gathers of 4 MiB the second is on its way while a product runs. Its backward pass scatters
# 16 MiB while cuDNN runs, and another 16 MiB while only an addition does.
PROGRAM = """
HloModule jit_train_step, is_scheduled=true

%product_of_two (a: bf16[64,64], b: bf16[64,64]) -> bf16[64,64] {
  ROOT %dot.1 = bf16[64,64]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%forward (p: (s32[], bf16[64,64])) -> (s32[], bf16[64,64]) {
  %all-gather-start.1 = (bf16[512,1024]{1,0}, bf16[2048,1024]{1,0}) all-gather-start(%x), dimensions={0}
  %norm = bf16[64,64]{1,0} fusion(%y), kind=kLoop, calls=%no_product
  %all-gather-done.1 = bf16[2048,1024]{1,0} all-gather-done(%all-gather-start.1)
  %all-gather-start.2 = (bf16[512,1024]{1,0}, bf16[2048,1024]{1,0}) all-gather-start(%x), dimensions={0}
  %gemm.3 = bf16[64,64]{1,0} fusion(%y, %z), kind=kCustom, calls=%product_of_two
  %all-gather-done.2 = bf16[2048,1024]{1,0} all-gather-done(%all-gather-start.2)
  %f = (bf16[2,4]{1,0}, u8[0]{0}) custom-call(%q, %k, %v), custom_call_target="__cudnn$fmhaSoftmax"
}

%backward (p: (s32[], bf16[64,64])) -> (s32[], bf16[64,64]) {
  %again = (bf16[2,4]{1,0}, u8[0]{0}) custom-call(%q, %k, %v), custom_call_target="__cudnn$fmhaSoftmax"
  %gemm.3.remat2 = bf16[64,64]{1,0} fusion(%y, %z), kind=kCustom, calls=%product_of_two
  %norm.remat = bf16[64,64]{1,0} fusion(%y), kind=kLoop, calls=%no_product
  %reduce-scatter-start.1 = ((f32[2048,2048]{1,0}), f32[512,2048]{1,0}) reduce-scatter-start(%g), to_apply=%sum
  %b = (bf16[2,4]{1,0}, u8[0]{0}) custom-call(%q, %k), custom_call_target="__cudnn$fmhaSoftmaxBackward"
  %reduce-scatter-done.1 = f32[512,2048]{1,0} reduce-scatter-done(%reduce-scatter-start.1)
  %reduce-scatter-start.2 = ((f32[2048,2048]{1,0}), f32[512,2048]{1,0}) reduce-scatter-start(%g), to_apply=%sum
  %sum.5 = f32[64]{0} fusion(%y), kind=kLoop, calls=%no_product, metadata={op_name="jit(step)/transpose(jvp())/while"}
  %reduce-scatter-done.2 = f32[512,2048]{1,0} reduce-scatter-done(%reduce-scatter-start.2)
}

ENTRY %main.9 (p0: f32[64]) -> f32[64] {
  %w.1 = (s32[], bf16[64,64]) while(%t), condition=%c, body=%forward, backend_config={"known_trip_count":{"n":"8"}}
  %w.2 = (s32[], bf16[64,64]) while(%u), condition=%c, body=%backward, backend_config={"known_trip_count":{"n":"8"}}
  %all-reduce-start.1 = f32[1024,1024]{1,0} all-reduce-start(%h), to_apply=%sum
  %all-reduce-done.1 = f32[1024,1024]{1,0} all-reduce-done(%all-reduce-start.1)
}
"""


@pytest.mark.parametrize('attention', ['fmhaSoftmax', 'fmhaScaleBiasSoftmax'])  # the second has a mask: packed rows
def test_what_is_computed_twice_and_what_is_hidden(attention):
  found = read(PROGRAM.replace('fmhaSoftmax', attention))
  assert found.rematerialised_products == 1
  assert found.fused_forwards_in_backward == 1
  mib = 2**20
  assert found.sent_bytes == {'forward': 8 * 8 * mib, 'backward': 8 * 32 * mib, 'rest': 4 * mib}
  assert found.hidden_bytes == {'forward': 8 * 4 * mib, 'backward': 8 * 16 * mib, 'rest': 0}


def test_a_loop_over_pieces_of_a_batch_multiplies():
  pieces = (
    PROGRAM.replace('ENTRY %main.9 (p0: f32[64]) -> f32[64] {', '%pieces (p: f32[64]) -> f32[64] {')
    + """
ENTRY %main.9 (p0: f32[64]) -> f32[64] {
  %w.3 = (s32[]) while(%t), condition=%c, body=%pieces, backend_config={"known_trip_count":{"n":"5"}}
}
"""
  )
  one, five = read(PROGRAM).sent_bytes, read(pieces).sent_bytes
  assert five == {where: 5 * size for where, size in one.items()}


def test_how_gradients_are_summed_is_read_in_the_program():
  run, _ = plan.read_run(llama13b.get_config(), parse_target('4xH100'))
  program = """
  %a = ((bf16[5120,13824]{1,0}), bf16[1280,13824]{1,0}) reduce-scatter-start(%g)
  %b = f32[5120,32000]{1,0} all-reduce-start(%w), channel_id=47
  %c = f32[10240]{0} all-reduce-start(%n)
  %d = bf16[1280,5120]{1,0} all-reduce(%part)
  """
  assert gradient_sums(program, run) == (True, ['f32[5120,32000]'])
  assert gradient_sums('%e = bf16[13824,5120]{1,0} all-reduce(%g)', run) == (False, ['bf16[13824,5120]'])
