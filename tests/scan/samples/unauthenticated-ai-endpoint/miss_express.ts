import OpenAI from "openai";
import express from "express";
import rateLimit from "express-rate-limit";

const openai = new OpenAI();
const app = express();
app.use(rateLimit({ limit: 5 }));

app.post("/chat", requireAuth, async (req, res) => {
  const reply = await openai.chat.completions.create({
    model: "gpt-4o",
    max_tokens: 50,
    messages: [{ role: "user", content: req.body.question }],
  });
  res.json({ text: reply.choices[0].message.content });
});
