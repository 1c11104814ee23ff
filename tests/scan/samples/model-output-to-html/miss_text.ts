import DOMPurify from "dompurify";
import { marked } from "marked";
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

export async function show(question: string) {
  const box = document.getElementById("answer")!;
  const answer = await ask(question);
  box.textContent = answer;
  box.innerHTML = DOMPurify.sanitize(marked.parse(answer));
}
