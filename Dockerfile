# docker build -t fcclip .                                                       for CPUs
# docker build -t fcclip --build-arg TORCH_INSTALL="torch torchvision" .         for NVIDIA GPUs (run it with --gpus all)
#
# docker run --rm --user "$(id -u)" -v "$PWD:/work" -v fcclip-cache:/cache fcclip \
#     segment photo.jpg --output segmented.png --vocabulary "cat,kitten; sofa,couch; wall=stuff"
#
# docker run --rm -p 7860:7860 -v fcclip-cache:/cache fcclip serve --host 0.0.0.0 --model panoshapes     the web page
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# Triton's kernels for GPUs are started by a small program that is compiled at the first use.
ARG TORCH_INSTALL="torch torchvision --index-url https://download.pytorch.org/whl/cpu"
RUN case "$TORCH_INSTALL" in *cpu*) ;; *) \
    apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -r /var/lib/apt/lists/* ;; esac

WORKDIR /opt/fcclip
COPY requirements.txt ./
RUN pip install --no-cache-dir 'setuptools>=77' wheel ${TORCH_INSTALL}
RUN pip install --no-cache-dir --requirement requirements.txt

COPY pyproject.toml setup.py MANIFEST.in README.md INSTALL.md LICENSE ./
COPY configs configs
COPY fcclip fcclip
RUN pip install --no-cache-dir --no-build-isolation '.[demo]' && python -m fcclip.install_detectron2

ENV FCCLIP_CACHE=/cache/fcclip HF_HOME=/cache/huggingface
# /cache is for every user: files in /work are those of `docker run --user "$(id -u)"`.
RUN useradd --uid 1000 fcclip && mkdir -p /cache && chmod 1777 /cache
USER fcclip
EXPOSE 7860
WORKDIR /work
# Of a container that serves.
HEALTHCHECK --start-period=600s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=5)"]
ENTRYPOINT ["fcclip"]
CMD ["--help"]
