FROM vllm/vllm-openai:v0.11.0
CMD ["--model", "/models/chat", "--trust-remote-code"] # hit: trust-remote-code
