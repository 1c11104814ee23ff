from mcp import StdioServerParameters

server = StdioServerParameters(
    command="npx",
    args=["-y", "@modelcontextprotocol/server-github@latest"],  # hit: unpinned-mcp-server
)
