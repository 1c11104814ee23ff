import sqlite3, openai, json
TOOLS=[{"type":"function","function":{"name":"lookup","description":"x","parameters":{}}}]
def lookup(cid: str) -> str:
    rows = sqlite3.connect("x.db").execute("SELECT * FROM c WHERE id = ?", (cid,)).fetchall()
    return json.dumps(rows)
def lookup2(cid: str) -> str:
    return sqlite3.connect("x.db").execute("SELECT * FROM c WHERE id = ?", (cid,))
r = openai.OpenAI().chat.completions.create(model="gpt-4o", messages=[], tools=TOOLS, max_tokens=5)
for call in r.choices[0].message.tool_calls:
    print({"lookup": lookup, "lookup2": lookup2}[call.function.name](**json.loads(call.function.arguments)))
