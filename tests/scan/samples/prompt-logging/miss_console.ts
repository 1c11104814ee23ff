import OpenAI from "openai";

const openai = new OpenAI();

export async function ask(question: string): Promise<string> {
  const reply = await openai.chat.completions.create({
    model: "gpt-4o",
    max_tokens: 200,
    messages: [{ role: "user", content: question }],
  });
  console.log("tokens", reply.usage?.total_tokens);
  return reply.choices[0].message.content ?? "";
}
