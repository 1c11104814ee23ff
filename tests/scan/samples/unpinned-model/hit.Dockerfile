FROM ollama/ollama:latest
