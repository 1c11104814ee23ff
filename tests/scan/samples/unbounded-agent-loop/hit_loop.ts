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

export async function work(goal: string) {
  let next = goal;
  while (true) { // hit: unbounded-agent-loop
    next = await ask(next);
    if (next === "done") {
      return;
    }
  }
}
