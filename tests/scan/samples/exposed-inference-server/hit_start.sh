#!/bin/sh
ray start --head --dashboard-host 0.0.0.0 # hit: exposed-inference-server
mlflow server --host 0.0.0.0 --port 5000 # hit: exposed-inference-server
jupyter lab --ip 0.0.0.0 --ServerApp.token='' # hit: exposed-inference-server
export OLLAMA_HOST=0.0.0.0 # hit: exposed-inference-server
