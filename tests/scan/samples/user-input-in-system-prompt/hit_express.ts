import OpenAI from "openai";
import express from "express";

const openai = new OpenAI();
const app = express();

app.post("/chat", requireAuth, rateLimiter, async (req, res) => {
  const reply = await openai.chat.completions.create({
    model: "gpt-4o",
    max_tokens: 100,
    messages: [
      { role: "system", content: `You are a tutor for ${req.body.subject}` }, // hit: user-input-in-system-prompt
      { role: "user", content: "Begin." },
    ],
  });
  res.json({ text: reply.choices[0].message.content });
});
