import { openai } from "@ai-sdk/openai";
import { generateText } from "ai";

export async function title(topic: string) {
  const { text } = await generateText({ model: openai("gpt-4o"), prompt: topic }); // hit: missing-output-limit
  return text;
}
