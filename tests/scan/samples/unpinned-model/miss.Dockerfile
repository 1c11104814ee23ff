FROM ollama/ollama:0.12.3
FROM python:3.12-slim
