import OpenAI from "openai";
import cors from "cors";
import express from "express";

const app = express();
app.use(cors({ origin: ["https://shop.example.com"], credentials: true }));
const openai = new OpenAI();
