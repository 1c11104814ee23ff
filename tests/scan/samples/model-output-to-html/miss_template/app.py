from flask import Flask, render_template

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


app = Flask(__name__)


@app.route("/")
@login_required
@limiter.limit("5/minute")
def index():
    return render_template("answer.html", answer=ask("hello"), banner="<b>x</b>")
