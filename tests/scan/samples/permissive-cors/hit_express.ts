import OpenAI from "openai";
import cors from "cors";
import express from "express";

const app = express();
app.use(cors()); // hit: permissive-cors
const openai = new OpenAI();
