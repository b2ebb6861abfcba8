# The page and the REST interface: docker build -t dfdlib . && docker run -p 8000:8000 -v "$PWD/models:/models" dfdlib --model /models/best_model.pt
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY dfdlib dfdlib
RUN pip install --no-cache-dir '.[serve,onnx]' && useradd --create-home dfd && mkdir /data && chown dfd /data
USER dfd
ENV DFD_DATA_DIR=/data
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["dfd", "serve", "--host", "0.0.0.0"]
