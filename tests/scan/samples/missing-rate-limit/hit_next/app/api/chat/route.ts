import { openai } from "@ai-sdk/openai";
import { streamText } from "ai";
import { auth } from "@/auth";

export async function POST(req: Request) { // hit: missing-rate-limit
  const session = await auth();
  if (!session) return new Response("no", { status: 401 });
  const { messages } = await req.json();
  const result = streamText({ model: openai("gpt-4o"), maxOutputTokens: 300, messages });
  return result.toDataStreamResponse();
}
