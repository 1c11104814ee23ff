import Anthropic from "@anthropic-ai/sdk";

export const claude = new Anthropic({ apiKey: process.env.ANTHROPIC_API_KEY });
const placeholder = "sk-ant-api03-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
