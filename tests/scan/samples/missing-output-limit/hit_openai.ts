import OpenAI from "openai";

const openai = new OpenAI();

export async function ask(question: string): Promise<string> {
  const reply = await openai.chat.completions.create({ // hit: missing-output-limit
    model: "gpt-4o",
    messages: [{ role: "user", content: question }],
  });
  return reply.choices[0].message.content ?? "";
}
