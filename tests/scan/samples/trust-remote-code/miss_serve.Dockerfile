FROM vllm/vllm-openai:v0.12.0
CMD ["--model", "/models/chat"]
