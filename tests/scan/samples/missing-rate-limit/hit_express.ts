import OpenAI from "openai";
import express from "express";

const openai = new OpenAI();
const app = express();

app.post("/chat", requireAuth, async (req, res) => { // hit: missing-rate-limit
  const reply = await openai.chat.completions.create({
    model: "gpt-4o",
    max_tokens: 50,
    messages: [{ role: "user", content: req.body.question }],
  });
  res.json({ text: reply.choices[0].message.content });
});
