"""kill -9 eight times at random moments, 64 requests in flight. Needs no apt packages."""

from helpers.collecting import kill_and_finish
from helpers.fake_openai import start_process


def test_eight_kills_cost_what_was_in_flight(tmp_path):
  paid, latency = tmp_path / 'paid.txt', 0.3
  server, base_url = start_process(f'--latency={latency}', f'--paid={paid}')
  try:
    kill_and_finish(tmp_path / 'replies', base_url, paid, count=3000, kills=8, latency=latency)
  finally:
    server.terminate()
    server.wait()
