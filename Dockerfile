# Two targets: `cpu` (the default of docker-compose.yml) and `cuda`. Each step that installs or runs something
# is one that the make targets run as well. Listening on 0.0.0.0, the service does not start without a key: mount a
# secret and name it in SAMEASK_ADMIN_KEY_FILE (as docker-compose.yml does), or make keys in the volume first:
# docker run --rm --volume data:/data sameask:cpu sameask keys create --scope admin

FROM python:3.12-slim-bookworm AS build
WORKDIR /srv/sameask
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY training training
COPY sameask-client/src sameask-client/src
RUN python -m venv .venv

FROM build AS build-cpu
# The CPU build of torch satisfies the same pin and is gigabytes smaller.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN .venv/bin/pip install --no-cache-dir -c constraints.txt -e '.[cluster,openvino,training]'

FROM build AS build-cuda
# With what the larger release stands on; its digest is checked.
RUN .venv/bin/pip install --no-cache-dir -c constraints.txt -e '.[cluster,training]' \
  && .venv/bin/sameask base all-mpnet-base-v2

FROM python:3.12-slim-bookworm AS runtime
RUN useradd --system --uid 10001 --home-dir /srv/sameask sameask && install -d -m 700 -o 10001 /data /releases
WORKDIR /srv/sameask
COPY releases releases
ENV PATH=/srv/sameask/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SAMEASK_HOST=0.0.0.0 \
    SAMEASK_PORT=8000 \
    SAMEASK_DATA_DIR=/data \
    HF_HOME=/data/huggingface
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['SAMEASK_PORT'] + '/livez', timeout=2)"]
USER 10001
CMD ["sameask", "serve"]

FROM runtime AS cuda
COPY --from=build-cuda /srv/sameask /srv/sameask
ENV SAMEASK_DEVICE=cuda \
    SAMEASK_RELEASE=releases/mpnet-questions

FROM runtime AS cpu
COPY --from=build-cpu /srv/sameask /srv/sameask
ENV SAMEASK_DEVICE=cpu
