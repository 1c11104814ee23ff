FROM vllm/vllm-openai:v0.12.0
ENTRYPOINT ["vllm", "serve", "/models/chat", "--host", "0.0.0.0", "--port", "8000"]
