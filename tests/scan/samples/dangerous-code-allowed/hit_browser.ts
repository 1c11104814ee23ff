import OpenAI from "openai";

export const openai = new OpenAI({
  apiKey: settings.key,
  dangerouslyAllowBrowser: true, // hit: dangerous-code-allowed
});
