import { execFile } from "child_process";
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

const allowed = new Set(["status", "log"]);

export async function act(question: string) {
  const verb = await ask(question);
  if (!allowed.has(verb)) {
    throw new Error("not allowed");
  }
  execFile("git", [verb]);
}
