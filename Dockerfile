# The commands on a CPU, from the lock with hashes. Written and linted, never built. From the folder of the project:
#
#   docker build --tag skillmix_jax .
#   docker run --rm skillmix_jax
#   docker run --rm --volume "$PWD/data:/skillmix_jax/data" --volume "$PWD/runs:/skillmix_jax/runs" skillmix_jax \
#     python -m skillmix_jax.train --config=configs/tiny.py
#
# The folders must be writable for user 1000. Keys are given when it runs (--env OPENAI_API_KEY), never when it is built.
FROM python:3.11-slim-bookworm AS packages
COPY requirements.lock /requirements.lock
RUN python -m venv /venv && /venv/bin/python -m pip install --no-cache-dir --require-hashes -r /requirements.lock

FROM python:3.11-slim-bookworm
RUN useradd --uid 1000 --create-home skillmix
COPY --from=packages /venv /venv
WORKDIR /skillmix_jax
COPY . .
RUN /venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
  && install --directory --owner=skillmix data runs eval checkpoints demo
ENV PATH=/venv/bin:$PATH
USER 1000
CMD ["python", "-m", "skillmix_jax.doctor"]
