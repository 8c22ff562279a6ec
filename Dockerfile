# Viaduct with the versions that it was tested with. Data, results and caches live outside the image:
#   docker build -t viaduct .
#   docker run --rm -v "$PWD/data:/data" -v "$PWD/store:/store" viaduct plan real_small --data /data --store /store
FROM python:3.12-slim
WORKDIR /opt/viaduct
COPY pyproject.toml constraints.txt README.md ./
COPY viaduct viaduct
RUN pip install --no-cache-dir --constraint constraints.txt '.[engines]'
ENV HF_HOME=/store/hub VIADUCT_CACHE=/store/cache
WORKDIR /work
ENTRYPOINT ["viaduct"]
CMD ["--help"]
