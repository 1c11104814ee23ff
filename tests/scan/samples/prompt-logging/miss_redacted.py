import logging

from openai import OpenAI

client = OpenAI()
logger = logging.getLogger(__name__)


def ask(question):
    logger.debug("asked: %s", redact(question))
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    logger.info("reply %s", redact(reply.choices[0].message.content))
    return reply.choices[0].message.content
