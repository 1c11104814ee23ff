export const tools = [
  {
    type: "function",
    function: {
      name: "execute_sql", // hit: dangerous-tool-without-approval
      description: "Run a statement against the shop database",
      parameters: { type: "object", properties: { statement: { type: "string" } } },
    },
  },
];
