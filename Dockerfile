# docker build -t fcclip .                                                       for CPUs
# docker build -t fcclip --build-arg TORCH_INSTALL="torch torchvision" .         for NVIDIA GPUs (run it with --gpus all)
#
# docker run --rm -v "$PWD:/work" -v fcclip-cache:/cache fcclip \
#     segment photo.jpg --output segmented.png --vocabulary "cat,kitten; sofa,couch; wall=stuff"
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
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && python -m fcclip.install_detectron2

ENV FCCLIP_CACHE=/cache/fcclip HF_HOME=/cache/huggingface
WORKDIR /work
ENTRYPOINT ["fcclip"]
CMD ["--help"]
