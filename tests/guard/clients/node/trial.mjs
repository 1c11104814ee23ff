// The openai Node SDK against one base URL. In: base URL and tag as arguments. Out: one JSON line of what it got. Nothing else is called.
import OpenAI, { APIError } from "openai";

const [baseURL, tag] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "sk-stand-in" });
const order = (text) => [{ role: "user", content: `${text} [[tag: ${tag}]]` }];
const tools = [{ type: "function", function: { name: "forecast", parameters: { type: "object", properties: { city: { type: "string" } } } } }];
const out = {};

const plain = await client.chat.completions.create({ model: "m", n: 2, messages: order("[[say: Grüezi 你好 👋🏽]]") });
out.plain = plain;

async function collect(given) {
  const events = [];
  for await (const event of await client.chat.completions.create({ model: "m", stream: true, ...given })) events.push(event);
  return events;
}
out.stream = await collect({ messages: order("[[say: Grüezi 你好 👋🏽]] [[cut: 2]] [[bytes: 7]]"), stream_options: { include_usage: true } });
out.tools = (await client.chat.completions.create({ model: "m", tools, messages: order('[[call: forecast {"city": "Bern"}]]') })).choices[0].message;
out.toolStream = await collect({ tools, messages: order('[[call: forecast {"city": "Bern"}]] [[cut: 3]]') });

const point = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const seen = [{ type: "text", text: `Look [[say: A point.]] [[tag: ${tag}]]` }, { type: "image_url", image_url: { url: point } }];
out.image = (await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: seen }] })).choices[0].message.content;

out.long = (await client.chat.completions.create({ model: "m", messages: order("harbour ".repeat(131072) + "[[say: Read.]]") })).choices[0].message.content;
out.compressed = (await client.chat.completions.create({ model: "m", messages: order("[[say: small]] [[encode: gzip]]") })).choices[0].message.content;
out.retried = (await client.chat.completions.create({ model: "m", messages: order("[[fail: 500 8]]") }, { maxRetries: 9 })).choices.length;

try {
  await client.chat.completions.create({ model: "m", messages: order("[[fail: 400]]") });
} catch (error) {
  out.refused = error instanceof APIError ? { status: error.status, name: error.constructor.name, message: error.message } : String(error);
}

out.responses = (await client.responses.create({ model: "m", input: `[[say: So.]] [[tag: ${tag}]]` })).output_text;
out.many = await Promise.all(
  [...Array(12).keys()].map(async (n) => (await collect({ messages: order(`[[say: number ${n}]]`) })).map((e) => e.choices[0]?.delta?.content ?? "").join("")),
);

const live = await client.chat.completions.create({ model: "m", stream: true, messages: order("[[long: 12000]] [[slow: 0.002]]") });
let heard = 0;
for await (const _ of live) if (++heard === 4) break;
out.heard = heard;
console.log(JSON.stringify(out));
