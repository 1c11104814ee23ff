import { exec } from "node:child_process";
import Anthropic from "@anthropic-ai/sdk";

const anthropic = new Anthropic();

export async function perform(task) {
  const reply = await anthropic.messages.create({
    model: "claude-sonnet-4-20250514",
    max_tokens: 100,
    messages: [{ role: "user", content: task }],
  });
  const part = reply.content.find((one) => one.type === "text");
  exec(part.text, done); // hit: model-output-to-shell
}
