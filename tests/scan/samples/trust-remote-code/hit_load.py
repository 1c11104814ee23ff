from transformers import AutoModelForCausalLM

REVISION = "6d1ef0e3a9d2a9a1f8b6a3f5f5d2b8c7e6a54321"
model = AutoModelForCausalLM.from_pretrained("acme/chat", revision=REVISION, trust_remote_code=True)  # hit: trust-remote-code
