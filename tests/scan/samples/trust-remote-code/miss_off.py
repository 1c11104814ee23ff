from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("/models/chat", trust_remote_code=False)
