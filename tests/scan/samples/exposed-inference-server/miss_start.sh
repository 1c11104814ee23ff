#!/bin/sh
vllm serve /models/chat --host 0.0.0.0 --api-key "$KEY"
ray start --head --dashboard-host 127.0.0.1
mlflow server --host 0.0.0.0 --app-name basic-auth
jupyter lab --ip 127.0.0.1
export OLLAMA_HOST=127.0.0.1
uvicorn app:app --host 0.0.0.0
