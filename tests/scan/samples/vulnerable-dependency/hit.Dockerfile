FROM python:3.12-slim
RUN pip install "langflow==1.2.0"
