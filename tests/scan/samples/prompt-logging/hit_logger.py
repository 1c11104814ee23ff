import logging

from openai import OpenAI

client = OpenAI()
logger = logging.getLogger(__name__)


def ask(question):
    logger.debug("asked: %s", question)  # hit: prompt-logging
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    logger.info("reply %s", reply.choices[0].message.content)  # hit: prompt-logging
    return reply.choices[0].message.content
