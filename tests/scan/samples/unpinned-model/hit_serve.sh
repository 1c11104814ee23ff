#!/bin/sh
vllm serve acme/chat --api-key "$KEY" # hit: unpinned-model
