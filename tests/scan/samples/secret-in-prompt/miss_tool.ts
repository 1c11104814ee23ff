export const messages = [
  { role: "system", content: "Look orders up with the search tool. Explain how users reset their password: settings." },
];
const headers = { authorization: `Bearer ${process.env.SEARCH_KEY}` };
