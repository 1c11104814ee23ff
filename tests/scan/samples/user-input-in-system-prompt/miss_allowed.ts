import OpenAI from "openai";
import express from "express";

const openai = new OpenAI();
const app = express();
const SUBJECTS = { maths: "mathematics", art: "art history" };

app.post("/chat", requireAuth, rateLimiter, async (req, res) => {
  const reply = await openai.chat.completions.create({
    model: "gpt-4o",
    max_tokens: 100,
    messages: [
      { role: "system", content: "You are a tutor." },
      { role: "user", content: req.body.question },
    ],
  });
  res.json({ text: reply.choices[0].message.content });
});
