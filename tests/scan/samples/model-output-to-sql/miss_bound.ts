import { Pool } from "pg";
import OpenAI from "openai";

const openai = new OpenAI();

export async function ask(question: string): Promise<string> {
  const reply = await openai.chat.completions.create({
    model: "gpt-4o",
    max_tokens: 200,
    messages: [{ role: "user", content: question }],
  });
  return reply.choices[0].message.content ?? "";
}

const pool = new Pool();

export async function find(question: string) {
  const name = await ask(question);
  return pool.query("SELECT * FROM users WHERE name = $1", [name]);
}
