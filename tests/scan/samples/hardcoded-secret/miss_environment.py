import os

from openai import OpenAI

client = OpenAI(api_key=os.environ["OPENAI_API_KEY"])
other = OpenAI(api_key="sk-your-key-here")
url = f"postgresql://assistant:{os.environ['DB_PASSWORD']}@db.internal:5432/crm"
max_tokens = 4096
api_key = get_secret("projects/acme/secrets/openai/versions/7")
